"""The saliency scores of a finished cell on disk: made once, made again where they are asked for otherwise.

They stand beside the cell's result and are no part of it: without them the cell is as finished as with them. A test on
another data set has none: the page judges maps on a network's own test part.
"""

import json
import os
import pathlib
import traceback
from typing import Any

import numpy as np
import pandas as pd

from attn_jax import progress
from attn_jax.data.prepare import Prepared
from attn_jax.evaluation.files import read_frame, write_frame
from attn_jax.study.cell import Cell
from attn_jax.study.scoring import Asked, Scored, scores
from attn_jax.study.trained import data_facts, load_model, write_json
from attn_jax.training.preemption import Stopped

# Raised when what `scoring.scores` computes changes: cells are then scored anew.
SCORES_VERSION = 2
TABLE, FACTS, MAPS, FAILURE = "saliency.parquet", "saliency.json", "saliency_maps.npz", "saliency_failure.json"


def score(cell: Cell, data: Prepared) -> None:
    """Scores the maps of a finished cell, where that was not done yet as its config asks for; nothing is trained.

    Its folder gets `saliency.parquet` (see `scoring.scores`), `saliency_maps.npz` (each method's raw maps of the images
    that were changed) and then `saliency.json`: how that was made, and which methods have no map of this network. What
    goes wrong is said in one line and stands in `saliency_failure.json`; the cell stays without scores. A mistake in
    the program itself is raised.

    Args:
        cell: what was trained.
        data: what it was trained on.
    """
    if cell.state() != "done" or cell.tested_on or not cell.config.explain.methods or _stored(cell) is not None:
        return
    try:
        with progress.task(f"scoring the maps of {cell.slug}"):
            asked = _asked(cell, data)
            found = scores(asked, tuple(cell.config.explain.methods), cell.config.explain.scored)
            write_frame(cell.folder / TABLE, found.table)
            _write_maps(cell.folder / MAPS, asked, found)
            write_json(cell.folder / FACTS, _made_with(cell) | {"missing": found.missing})
    except (Stopped, AssertionError, TypeError, KeyError):
        raise
    except Exception as error:  # noqa: BLE001  (the cell is finished all the same)
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}".strip()
        write_json(cell.folder / FAILURE, {"reason": reason, "traceback": traceback.format_exc()})
        progress.message(f"{cell.slug}: not scored: {reason}")
    else:
        (cell.folder / FAILURE).unlink(missing_ok=True)


def read(cell: Cell) -> pd.DataFrame | None:
    """The scores of a cell, None where there are none made with what its config asks for."""
    return read_frame(cell.folder / TABLE) if _stored(cell) is not None else None


def unscored(cell: Cell) -> dict[str, str]:
    """Why a cell has no scores of a method, by the method's name; under the empty name why it has none at all."""
    stored = _stored(cell)
    if stored is not None:
        return dict(stored["missing"])
    try:
        return {"": json.loads((cell.folder / FAILURE).read_text())["reason"]}
    except FileNotFoundError:
        return {}


def forget(cell: Cell) -> None:
    """Marks the scores of a cell as those of an earlier network, or of other maps."""
    (cell.folder / FACTS).unlink(missing_ok=True)


def _stored(cell: Cell) -> dict[str, Any] | None:
    """How the scores of a cell were made, None where that is not how its config asks for."""
    try:
        stored = json.loads((cell.folder / FACTS).read_text())
    except (FileNotFoundError, ValueError):
        return None
    files = all((cell.folder / name).is_file() for name in (TABLE, MAPS))
    return stored if files and {**stored, **_made_with(cell)} == stored else None


def _made_with(cell: Cell) -> dict[str, Any]:
    options = cell.config.explain
    return {
        "version": SCORES_VERSION,
        "methods": list(options.methods),
        "scored": options.scored,
        "layer": options.layer,
    }


def _asked(cell: Cell, data: Prepared) -> Asked:
    model, task, variables = load_model(cell.config, data_facts(data), cell.folder)
    with np.load(cell.folder / "maps.npz") as stored:
        image_ids, targets, drawn = stored["image_id"], stored["target"], stored["map"]
    place = {image_id: row for row, image_id in enumerate(data.image_ids)}
    rows = np.array([place[image_id] for image_id in image_ids], dtype=np.intp)
    return Asked(model, task, variables, data, rows, targets, cell.config.explain.layer or None, {"grad_cam": drawn})


def _write_maps(path: pathlib.Path, asked: Asked, found: Scored) -> None:
    """Writes the few images' maps whole or not at all, as float16 from 0 to 1: only their shape is compared."""
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")
    image_ids, targets = asked.data.image_ids[asked.rows[found.few]].astype(str), asked.targets[found.few]
    maps = {f"map_{method}": _small(raw) for method, raw in found.looks.items()}
    np.savez_compressed(partial, image_id=image_ids, target=targets, **maps)  # type: ignore[arg-type]
    os.replace(partial, path)


def _small(raw: np.ndarray) -> np.ndarray:
    space = tuple(range(1, raw.ndim))
    with np.errstate(invalid="ignore"):
        low = raw.min(axis=space, keepdims=True)
        spread = raw.max(axis=space, keepdims=True) - low
        scaled = (raw - low) / np.where(spread > 0, spread, 1)
    return np.where(np.isfinite(spread) & (spread > 0), scaled, 0).astype(np.float16)
