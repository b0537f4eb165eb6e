"""The study's page from its cells: nothing here trains, and it can be redone at any time."""

import collections
import importlib.metadata
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

import attn_jax
from attn_jax import models, progress, report
from attn_jax.data.prepare import Prepared
from attn_jax.evaluation import records
from attn_jax.evaluation.records import Result
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.localise import energy_in_mask
from attn_jax.report.contents import SALIENCY, Contents, DatasetSummary, GalleryItem, GalleryMap
from attn_jax.study.cell import Cell
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
        cells=cell_table(cells, prepared),
        results=results,
        predictions=predictions,
        history=_history(done),
        datasets={name: _summary(data) for name, data in prepared.items()},
        saliency=_saliency(done),
        gallery=_gallery(config, done, predictions, prepared),
        provenance=_provenance(config, cells, prepared),
        command=" ".join(["python", *sys.argv]),
        baseline=config.baseline,
    )


def cell_table(cells: Sequence[Cell], prepared: dict[str, Prepared]) -> pd.DataFrame:
    """One row a cell: its point on the grid, its state, what it cost, and how much of its maps lies where."""
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
    slot = models.create(
        config.model.name,
        num_classes=2,
        attention=config.model.attention,
        attention_options=config.model.attention_options.to_dict(),
        placement=config.model.placement or None,
        stages=tuple(config.model.stages),
    ).attention
    return slot.placement


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


def _summary(data: Prepared) -> DatasetSummary:
    facts = data.summary
    size = "x".join(map(str, data.images.shape[1:-1]))
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
        notes=tuple(facts["notes"]),
    )


def _gallery(
    config: ConfigDict,
    done: Sequence[Cell],
    predictions: dict[str, records.Predictions],
    prepared: dict[str, Prepared],
) -> tuple[GalleryItem, ...]:
    """Per data set the images that most models get wrong, one map a mechanism (of its first seed)."""
    if not config.report.pictures:
        return ()
    items = []
    for name in dict.fromkeys(cell.dataset for cell in done):
        first: dict[str, Cell] = {}
        for cell in done:
            if cell.dataset == name and not cell.tested_on:
                first.setdefault(cell.config.model.attention, cell)
        items += _rows(config.explain.gallery, prepared[name], first, {a: predictions[c.key] for a, c in first.items()})
    return tuple(items)


def _rows(
    count: int, data: Prepared, cells: dict[str, Cell], predictions: dict[str, records.Predictions]
) -> list[GalleryItem]:
    if data.kind != "single" or data.images.ndim != 4:
        return []
    stored = {attention: np.load(cell.folder / "maps.npz") for attention, cell in cells.items()}
    tables = {attention: table.part("test") for attention, table in predictions.items()}
    thresholds = {a: (c.result() or {})["evaluation"]["thresholds"] for a, c in cells.items()}
    decided = {a: table.decisions(thresholds[a]) for a, table in tables.items()}
    wrong: collections.Counter[str] = collections.Counter()
    for attention, table in tables.items():
        for image_id, label, decision in zip(table.image_id, table.label, decided[attention], strict=True):
            wrong[image_id] += int(label != decision)
    place = {image_id: row for row, image_id in enumerate(data.image_ids)}
    # Wrong ones first; among equals those with an outline, then by name.
    order = sorted(wrong, key=lambda i: (-wrong[i], not data.has_mask[place[i]], i))
    half = order[: (count + 1) // 2]
    chosen = half + [
        i for i in sorted(wrong, key=lambda i: (wrong[i], not data.has_mask[place[i]], i)) if i not in half
    ]
    items = []
    for image_id in chosen[:count]:
        row = place[image_id]
        mask = data.masks[row] > 0 if data.masks is not None and data.has_mask[row] else None
        columns = []
        for attention, table in tables.items():
            at = int(np.flatnonzero(table.image_id == image_id)[0])
            at_map = int(np.flatnonzero(stored[attention]["image_id"] == image_id)[0])
            drawn = np.asarray(to_image(stored[attention]["map"][at_map][None], data.images.shape[1:3]))[0]
            decision = decided[attention][at]
            columns.append(
                GalleryMap(
                    attention=attention,
                    map=drawn,
                    predicted=data.classes[decision],
                    score=float(table.score[at, decision]),
                    correct=bool(decision == table.label[at]),
                    energy_in_mask=None if mask is None else float(energy_in_mask(drawn[None], mask[None])[0]),
                )
            )
        items.append(
            GalleryItem(
                dataset=data.name,
                image_id=image_id,
                image=_as_uint8(data.images[row]),
                mask=mask,
                label=data.classes[int(data.labels[row])],
                columns=tuple(columns),
            )
        )
    return items


def _as_uint8(image: np.ndarray) -> np.ndarray:
    grey = image[..., 0] if image.shape[-1] == 1 else image
    return grey if grey.dtype == np.uint8 else (grey // 257).astype(np.uint8)


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
