"""The study's page from its cells: nothing here trains, and it can be redone at any time."""

import importlib.metadata
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from ml_collections import ConfigDict

import attn_jax
from attn_jax import progress, report
from attn_jax.data.prepare import Prepared
from attn_jax.evaluation import records
from attn_jax.evaluation.records import Result
from attn_jax.report.contents import SALIENCY, SCORES, UNSCORED, Contents, DatasetSummary
from attn_jax.study import saliency
from attn_jax.study.agreement import agreement
from attn_jax.study.build import make_model
from attn_jax.study.cell import Cell
from attn_jax.study.gallery import gallery
from attn_jax.training import history

if TYPE_CHECKING:
    from attn_jax.study.runner import Datasets

COSTS = ("parameters", "gmacs", "step_bytes", "step_seconds", "compile_seconds", "train_seconds", "steps", "best_step")
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "scikit-learn",
    "opencv-python-headless",
)


def write_page(config: ConfigDict, workdir: pathlib.Path, cells: Sequence[Cell], datasets: "Datasets") -> pathlib.Path:
    """Writes `report/` in the working directory and returns the path of the page."""
    with progress.task("writing the report"):
        contents = gather(config, workdir, cells, datasets)
        return report.write(contents, workdir / "report", pictures=config.report.pictures)


def gather(config: ConfigDict, workdir: pathlib.Path, cells: Sequence[Cell], datasets: "Datasets") -> Contents:
    """Everything the page shows, read from the cells' folders."""
    done = [cell for cell in cells if cell.state() == "done"]
    predictions = {cell.key: records.read(cell.folder / "predictions.parquet") for cell in done}
    results = {cell.key: Result.from_json((cell.result() or {})["evaluation"]) for cell in done}
    prepared: dict[str, Prepared] = {}
    for cell in cells:
        _, data, tested = datasets.of(config, cell.point)
        prepared.setdefault(data.name, data)
        if tested is not None:
            prepared.setdefault(tested.name, tested)
    return Contents(
        title=config.title,
        description=config.description,
        cells=cell_table(cells),
        results=results,
        predictions=predictions,
        history=_history(done),
        datasets={name: _summary(data) for name, data in prepared.items()},
        saliency=_saliency(done),
        scores=_scores([cell for cell in done if not cell.tested_on]),
        unscored=_unscored([cell for cell in done if not cell.tested_on]),
        gallery=gallery(config.explain.gallery, done, predictions, results, prepared) if config.report.pictures else (),
        provenance=_provenance(config, cells, prepared),
        command=" ".join(["python", *sys.argv]),
        baseline=config.baseline,
        primary=config.report.metric,
        margin=config.report.margin,
    )


def cell_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row a cell: its point on the grid, its state and what it cost."""
    rows = []
    for cell in cells:
        state = cell.state()
        result = (cell.result() or {}) if state == "done" else {}
        options = cell.config.model
        row = {
            "key": cell.key,
            "slug": cell.slug,
            "state": "unfinished" if state == "to do" else state,
            "reason": (cell.failure() or {}).get("reason", "") if state == "failed" else "",
            "dataset": cell.dataset,
            "tested_on": cell.tested_on,
            "attention": options.attention,
            "model": options.name,
            "placement": _placement(cell.config),
            "seed": cell.config.seed,
            "fold": cell.config.data.split.fold,
        }
        row |= {name: value for name, value in cell.point.items() if name not in row}
        row |= {name: result.get(name) for name in COSTS}
        rows.append(row)
    return pd.DataFrame(rows)


def _placement(config: ConfigDict) -> str:
    if config.model.attention == "none":
        return ""
    return make_model(config, 2).attention.placement


def _history(cells: Sequence[Cell]) -> pd.DataFrame:
    frames = []
    for cell in cells:
        if cell.trained_in is None:
            frame = pd.DataFrame(history.read(cell.folder / "metrics.jsonl"))
            frame.insert(0, "key", cell.key)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"key": [], "step": [], "epoch": []})


def _saliency(cells: Sequence[Cell]) -> pd.DataFrame:
    rows = [
        {"key": cell.key, "place": place, **facts}
        for cell in cells
        for place, facts in (cell.result() or {}).get("saliency", {}).items()
    ]
    return pd.DataFrame(rows, columns=SALIENCY)


def _scores(cells: Sequence[Cell]) -> pd.DataFrame:
    stored = {cell.key: table for cell in cells if (table := saliency.read(cell)) is not None}
    frames = [table.assign(key=key) for key, table in stored.items()]
    return (
        pd.concat([*frames, agreement(cells, stored)], ignore_index=True)[SCORES]
        if frames
        else pd.DataFrame(columns=SCORES)
    )


def _unscored(cells: Sequence[Cell]) -> pd.DataFrame:
    rows = [(cell.key, method, reason) for cell in cells for method, reason in saliency.unscored(cell).items()]
    return pd.DataFrame(rows, columns=UNSCORED)


def _summary(data: Prepared) -> DatasetSummary:
    facts = data.summary
    size = "x".join(map(str, data.images.shape[1:-1]))
    masks = [f"The mask of {entry['path']} is not used: {entry['reason']}." for entry in facts["bad_masks"]]
    return DatasetSummary(
        classes=data.classes,
        kind=data.kind,
        simulated=data.simulated,
        counts=pd.DataFrame(facts["counts"]).T,
        images=len(data.image_ids),
        image_size=f"{size}, {data.images.shape[-1]} channel{'s' if data.images.shape[-1] > 1 else ''}",
        source=facts["source"],
        patients=None if data.groups is None else len(set(data.groups)),
        skipped=tuple((entry["path"], entry["reason"]) for entry in facts["skipped"]),
        clusters=facts["clusters"]["count"],
        images_in_clusters=facts["clusters"]["images"],
        leaked_naive=facts["leaked_naive"],
        notes=(*facts["notes"], *masks),
    )


def _provenance(config: ConfigDict, cells: Sequence[Cell], prepared: dict[str, Prepared]) -> dict[str, Any]:
    finished = [result for cell in cells if (result := cell.result())]
    return {
        "versions": {"attn_jax": attn_jax.__version__, "python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "data digests": {name: data.digest for name, data in prepared.items()},
        "seeds": sorted({cell.config.seed for cell in cells}),
        "split seeds": sorted({cell.config.data.split.seed for cell in cells}),
        "hosts": sorted({result["host"] for result in finished}),
        "trained with attn_jax": sorted({result["version"] for result in finished}),
        "first and last cell": [
            min((r["finished"] for r in finished), default=""),
            max((r["finished"] for r in finished), default=""),
        ],
        "config": config.to_yaml(),
    }
