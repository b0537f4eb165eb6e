"""Which test images the page shows, and where each mechanism's model looks on them."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from attn_jax.data.prepare import Prepared
from attn_jax.evaluation.records import Predictions, Result
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.localise import energy_in_mask
from attn_jax.report.contents import GalleryItem, GalleryMap
from attn_jax.study.cell import Cell


class _Shown:
    """One mechanism's model: its test scores, decisions and maps, by image."""

    def __init__(self, cell: Cell, predictions: Predictions, result: Result) -> None:
        self.attention = cell.config.model.attention
        self.table = predictions.part("test")
        self.decided = self.table.decisions(result.thresholds)
        with np.load(cell.folder / "maps.npz") as stored:
            self.maps, ids = stored["map"], stored["image_id"]
        self.row = {image_id: row for row, image_id in enumerate(self.table.image_id)}
        self.map_row = {image_id: row for row, image_id in enumerate(ids)}

    def wrong(self, image_id: str) -> int:
        """1 for a wrong class; the number of wrong decisions about known findings."""
        row = self.row[image_id]
        label = self.table.label[row]
        if self.table.kind == "single":
            return int(self.decided[row] != label)
        return int((self.decided[row] != (label == 1))[~np.isnan(label)].sum())

    def column(self, image_id: str, data: Prepared, mask: np.ndarray | None) -> GalleryMap:
        """The map over an image, drawn at the image's size."""
        row = self.row[image_id]
        drawn = np.asarray(to_image(self.maps[self.map_row[image_id]][None], data.images.shape[1:-1]))[0]
        decision = self.decided[row] if data.kind == "single" else self.table.score[row].argmax()
        return GalleryMap(
            attention=self.attention,
            map=drawn,
            predicted=data.classes[decision],
            score=float(self.table.score[row, decision]),
            correct=not self.wrong(image_id),
            energy_in_mask=None if mask is None else float(energy_in_mask(drawn[None], mask[None])[0]),
        )


def gallery(
    count: int,
    done: Sequence[Cell],
    predictions: Mapping[str, Predictions],
    results: Mapping[str, Result],
    prepared: Mapping[str, Prepared],
) -> tuple[GalleryItem, ...]:
    """`count` images a data set, one map a mechanism (of its first seed); volumes are left out.

    The first half are the images that most models get wrong, the rest those that most get right; among equals those
    with an outline come first.
    """
    items: list[GalleryItem] = []
    for name in dict.fromkeys(cell.dataset for cell in done):
        data, first = prepared[name], dict[str, Cell]()
        for cell in done:
            if cell.dataset == name and not cell.tested_on:
                first.setdefault(cell.config.model.attention, cell)
        if data.images.ndim == 4:
            models = [_Shown(cell, predictions[cell.key], results[cell.key]) for cell in first.values()]
            items += [_item(image_id, data, models) for image_id in _choose(count, data, models)]
    return tuple(items)


def _choose(count: int, data: Prepared, models: Sequence[_Shown]) -> list[str]:
    outlined = dict(zip(data.image_ids, data.has_mask, strict=True))
    wrong = collections.Counter({i: sum(model.wrong(i) for model in models) for i in models[0].row})
    worst = sorted(wrong, key=lambda i: (-wrong[i], not outlined[i], i))[: (count + 1) // 2]
    best = sorted(wrong.keys() - set(worst), key=lambda i: (wrong[i], not outlined[i], i))
    return [*worst, *best][:count]


def _item(image_id: str, data: Prepared, models: Sequence[_Shown]) -> GalleryItem:
    row = int(np.flatnonzero(data.image_ids == image_id)[0])
    mask = data.masks[row] > 0 if data.masks is not None and data.has_mask[row] else None
    if data.kind == "single":
        label = data.classes[int(data.labels[row])]
    else:
        present = [name for name, value in zip(data.classes, data.labels[row], strict=True) if value == 1]
        label = ", ".join(present) or "no finding"
    columns = tuple(model.column(image_id, data, mask) for model in models)
    return GalleryItem(data.name, image_id, _as_uint8(data.images[row]), mask, label, columns)


def _as_uint8(image: np.ndarray) -> np.ndarray:
    grey = image[..., 0] if image.shape[-1] == 1 else image
    return grey if grey.dtype == np.uint8 else (grey // 257).astype(np.uint8)
