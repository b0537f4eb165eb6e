"""The saliency scores of a finished cell on disk: made once, made again where they are asked for otherwise.

They stand beside the cell's result and are no part of it: without them the cell is as finished as with them.
"""

import json
from typing import Any

import numpy as np
import pandas as pd

from attn_jax import progress
from attn_jax.data.prepare import Prepared
from attn_jax.evaluation.files import read_frame, write_frame
from attn_jax.study.cell import Cell
from attn_jax.study.scoring import Asked, scores
from attn_jax.study.trained import data_facts, load_model, write_json
from attn_jax.training.preemption import Stopped

# Raised when what `scoring.scores` computes changes: cells are then scored anew.
SCORES_VERSION = 1
TABLE, FACTS = "saliency.parquet", "saliency.json"


def score(cell: Cell, data: Prepared, tested: Prepared | None) -> None:
    """Scores the maps of a finished cell, where that was not done yet as its config asks for; nothing is trained.

    What goes wrong is said in one line, and the cell stays without scores.

    Args:
        cell: its folder gets `saliency.parquet` (see `scoring.scores`) and then `saliency.json`, how that was made.
        data: what it was trained on.
        tested: the other data set it was tested on, where it was.
    """
    if cell.state() != "done" or not cell.config.explain.methods or _known(cell):
        return
    try:
        with progress.task(f"scoring the maps of {cell.slug}"):
            table = _scores(cell, data, tested or data)
            write_frame(cell.folder / TABLE, table)
            write_json(cell.folder / FACTS, _made_with(cell))
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001  (the cell is finished all the same)
        lines = str(error).strip().splitlines()
        progress.message(f"{cell.slug}: not scored: {type(error).__name__}: {lines[0] if lines else ''}")


def read(cell: Cell) -> pd.DataFrame | None:
    """The scores of a cell, None where there are none made with what its config asks for."""
    return read_frame(cell.folder / TABLE) if _known(cell) else None


def forget(cell: Cell) -> None:
    """Marks the scores of a cell as those of an earlier network."""
    (cell.folder / FACTS).unlink(missing_ok=True)


def _known(cell: Cell) -> bool:
    try:
        stored = json.loads((cell.folder / FACTS).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return stored == _made_with(cell) and (cell.folder / TABLE).is_file()


def _made_with(cell: Cell) -> dict[str, Any]:
    options = cell.config.explain
    return {
        "version": SCORES_VERSION,
        "methods": list(options.methods),
        "scored": options.scored,
        "layer": options.layer,
    }


def _scores(cell: Cell, data: Prepared, shown: Prepared) -> pd.DataFrame:
    model, task, variables = load_model(cell.config, data_facts(data), cell.trained_in or cell.folder)
    options = cell.config.explain
    with np.load(cell.folder / "maps.npz") as stored:
        image_ids, targets, drawn = stored["image_id"], stored["target"], stored["map"]
    place = {image_id: row for row, image_id in enumerate(shown.image_ids)}
    rows = np.array([place[image_id] for image_id in image_ids], dtype=np.intp)
    asked = Asked(model, task, variables, shown, rows, targets, options.layer or None, {"grad_cam": drawn})
    return scores(asked, tuple(options.methods), options.scored)
