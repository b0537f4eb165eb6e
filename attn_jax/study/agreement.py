"""How alike the maps of a mechanism's networks are: of two seeds, of two backbones, of true and of random labels."""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.errors import UserError
from attn_jax.evaluation.files import read_frame, write_frame
from attn_jax.study.alike import SIMILARITIES, Ready, alike, circle, ready
from attn_jax.study.cell import Cell
from attn_jax.study.saliency import MAPS
from attn_jax.study.scoring import COLUMNS, REPAIRED

# Raised when what is computed here changes: it is then computed anew.
VERSION = 1
STORE = "agreement.parquet"
_AXES = ("seed", "model", "labels")

Pair = tuple[int, int]


class _Asked(NamedTuple):
    """Whose maps by a method are compared in which pairs, and the cells that get the result."""

    kind: str
    method: str
    pairs: list[Pair]
    of: list[int]


def agreement(cells: Sequence[Cell], scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows as in `scores`, and the `key` of the cell, of the stored maps of the scored images by every scored method.

    `repeatability_ssim` is the mean similarity of an image's maps over all pairs of seeds, with all else equal,
    `reproducibility_ssim` over all pairs of a run of one backbone and a run of another, and `random_labels_ssim` over
    all pairs of a run with true labels and one with random labels, where low is wanted. `..._ssim/repaired` is the same
    of maps of different images, and `_spearman` goes with both in the same way. Only maps of the same image for the
    same class are compared. All cells of an arm have the same rows. There are none where there is no pair.

    What was computed of the same maps before is read from `agreement.parquet` beside the cells' folders.

    Args:
        cells: finished cells.
        scores: the scores of those that have some, by their key: they name the patients.
    """
    known = [cell for cell in cells if cell.key in scores]
    store = _Store(known[0].folder.parent / STORE if known else None)
    frames = []
    for family in _families(known, *_AXES):
        found = store.get(family)
        if found is None:
            found = _compared(family, scores)
        frames.append(store.put(family, found))
    store.write()
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["key", *COLUMNS])


class _Store:
    """What was computed before, by a digest of the cells and of when their maps were written."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        self._new: list[pd.DataFrame] = []
        self._known = pd.DataFrame({"digest": []})
        try:
            self._known = read_frame(path) if path else self._known
        except UserError:  # there is none, or it is broken: all is computed anew
            pass
        self._before = set(self._known["digest"])

    def get(self, cells: Sequence[Cell]) -> pd.DataFrame | None:
        digest = _digest(cells)
        return self._known[self._known["digest"] == digest] if digest in self._before else None

    def put(self, cells: Sequence[Cell], found: pd.DataFrame) -> pd.DataFrame:
        """Keeps what was found, and returns it without those rows that only say that nothing was."""
        digest = _digest(cells)
        nothing = dict.fromkeys(["key", *COLUMNS], "") | {"value": np.nan}
        kept = found if len(found) else pd.DataFrame([nothing])
        self._new.append(kept.assign(digest=digest))
        return kept.loc[kept["key"] != "", ["key", *COLUMNS]]

    def write(self) -> None:
        digests = {frame["digest"].iloc[0] for frame in self._new}
        if self._path and digests != self._before:
            write_frame(self._path, pd.concat(self._new, ignore_index=True))


def _digest(cells: Sequence[Cell]) -> str:
    written = [(cell.key, (cell.folder / MAPS).stat().st_mtime_ns) for cell in cells]
    return hashlib.sha256(json.dumps([VERSION, sorted(written)]).encode()).hexdigest()


def _families(cells: Sequence[Cell], *but: str) -> list[list[Cell]]:
    """The cells that differ in nothing but some axes, in their order."""
    found: dict[Any, list[Cell]] = {}
    for cell in cells:
        point = sorted((name, str(value)) for name, value in cell.point.items() if name not in but)
        found.setdefault((cell.dataset, *point), []).append(cell)
    return list(found.values())


def _compared(family: Sequence[Cell], scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    group: dict[str, str] = {}
    for cell in family:
        group |= dict(zip(scores[cell.key]["image_id"], scores[cell.key]["group"], strict=True))
    frames = []
    for method in dict.fromkeys(method for cell in family for method in cell.config.explain.methods):
        runs = [_read(cell, method) for cell in family]
        pairs_of = list(_asked(family, method, [bool(run) for run in runs]))
        images = sorted({image: target for run in reversed(runs) for image, target in run}.items())
        if not pairs_of or not images:
            continue
        found = _similarities(runs, images, {pair for asked in pairs_of for pair in asked.pairs}, family[0])
        named = {"image_id": [i for i, _ in images], "group": [group[i] for i, _ in images], "method": method}
        for asked in pairs_of:
            values = _mean(np.stack([found[pair] for pair in asked.pairs]))  # [image, same or repaired, similarity]
            metrics = [
                (f"{asked.kind}_{name}{end}", values[:, which, place])
                for place, name in enumerate(SIMILARITIES)
                for which, end in enumerate(("", REPAIRED))
            ]
            shared = [pd.DataFrame(named | {"metric": metric, "value": value}) for metric, value in metrics]
            frames += [frame.assign(key=family[at].key) for at in asked.of for frame in shared]
    columns = ["key", *COLUMNS]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _asked(family: Sequence[Cell], method: str, known: Sequence[bool]) -> Iterator[_Asked]:
    """What of a family can be compared: arms by seed, backbones by arm, true labels by random ones."""
    place = {cell.key: at for at, cell in enumerate(family)}
    having = [cell for cell, has in zip(family, known, strict=True) if has]

    def groups(*but: str) -> list[list[int]]:
        return [[place[cell.key] for cell in cells] for cells in _families(having, *but)]

    for arm in groups("seed"):
        if len(arm) > 1:
            yield _Asked("repeatability", method, list(itertools.combinations(arm, 2)), arm)
    for kind, axis in (("reproducibility", "model"), ("random_labels", "labels")):
        for several in groups("seed", axis):
            of = {at: _value(family[at], axis) for at in several}
            pairs = [(one, other) for one, other in itertools.combinations(several, 2) if of[one] != of[other]]
            if pairs:
                yield _Asked(kind, method, pairs, several)


def _value(cell: Cell, axis: str) -> str:
    return cell.config.model.name if axis == "model" else cell.config.data.labels


def _read(cell: Cell, method: str) -> dict[tuple[str, int], Float[np.ndarray, "*map"]]:
    """The stored maps by a method, by their image and class; empty where there are none."""
    with np.load(cell.folder / MAPS) as stored:
        if f"map_{method}" not in stored:
            return {}
        named = zip(stored["image_id"].astype(str), stored["target"].tolist(), strict=True)
        return dict(zip(named, stored[f"map_{method}"].astype(np.float32), strict=True))


def _similarities(
    runs: Sequence[Mapping[tuple[str, int], Float[np.ndarray, "*map"]]],
    images: Sequence[tuple[str, int]],
    pairs: set[Pair],
    like: Cell,
) -> dict[Pair, Float[np.ndarray, "images 2 2"]]:
    """Of each image how alike the maps of two runs are, and one's map and the other's of the next image in a circle.

    Only the maps of two images are ready at a time, those of all runs.
    """
    found = {pair: np.full((len(images), 2, len(SIMILARITIES)), np.nan) for pair in pairs}

    def looks(image: int) -> list[Ready | None]:
        raw = [run.get(images[image]) for run in runs]
        side = like.config.data.image_size
        return [None if one is None else ready(one, (side,) * one.ndim) for one in raw]

    order = circle(len(images))
    first = current = looks(order[0])
    for at, image in enumerate(order):
        following = first if at + 1 == len(order) else looks(order[at + 1])
        for (one, other), values in found.items():
            values[image, 0] = alike(current[one], current[other])
            if len(order) > 1:
                values[image, 1] = alike(current[one], following[other])
        current = following
    return found


def _mean(values: Float[np.ndarray, "pairs *rest"]) -> Float[np.ndarray, "*rest"]:
    """Over the pairs that have a value; NaN where none has."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
