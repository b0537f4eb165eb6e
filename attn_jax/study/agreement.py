"""How alike the maps of a mechanism's networks are: from seed to seed, and from backbone to backbone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.trust import Agreement, repeatability, reproducibility
from attn_jax.study.cell import Cell
from attn_jax.study.scoring import COLUMNS, REPAIRED, SIMILARITIES, chosen


class _Looks(NamedTuple):
    """A cell's stored maps of the scored images, raw."""

    image_ids: np.ndarray
    raw: Float[np.ndarray, "B *map"]
    size: int

    @property
    def maps(self) -> Float[np.ndarray, "B *space"]:
        """As they lie over the images."""
        return np.asarray(to_image(self.raw, (self.size,) * (self.raw.ndim - 1)))


def agreement(cells: Sequence[Cell], scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows as in `scores`, and the `key` of the cell, of the stored class activation maps of the scored images.

    `repeatability_ssim` is the mean similarity of an image's maps over all pairs of seeds, with all else equal, and
    `reproducibility_ssim` over all pairs of a run of one backbone and a run of another; `..._ssim/repaired` is the same
    of maps of different images, and `_spearman` goes with both in the same way. All cells of an arm have the same rows.
    There are none where there is no pair.

    Args:
        cells: finished cells.
        scores: the scores of those that have some, by their key: they name the patients.
    """
    known = [cell for cell in cells if cell.key in scores and "grad_cam" in cell.config.explain.methods]
    looks = {cell.key: _looks(cell) for cell in known if cell.config.explain.scored}
    known = [cell for cell in known if cell.key in looks]

    def runs(of: Sequence[Cell]) -> Float[np.ndarray, "R B *space"]:
        return np.stack([looks[cell.key].maps for cell in of])

    frames = []
    for arm in _families(known, "seed"):
        if len(arm) > 1:
            alike = {name: repeatability(runs(arm), of) for name, of in SIMILARITIES.items()}
            frames += _frames("repeatability", arm, looks[arm[0].key], scores, alike)
    for mechanism in _families(known, "seed", "model"):
        backbones = [runs(of) for of in _families(mechanism, "seed")]
        if len(backbones) > 1:
            alike = {name: reproducibility(backbones, of) for name, of in SIMILARITIES.items()}
            frames += _frames("reproducibility", mechanism, looks[mechanism[0].key], scores, alike)
    columns = ["key", *COLUMNS]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _families(cells: Sequence[Cell], *but: str) -> list[list[Cell]]:
    """The cells that differ in nothing but some axes, in their order."""
    found: dict[Any, list[Cell]] = {}
    for cell in cells:
        point = sorted((name, str(value)) for name, value in cell.point.items() if name not in but)
        found.setdefault((cell.dataset, *point), []).append(cell)
    return list(found.values())


def _looks(cell: Cell) -> _Looks:
    with np.load(cell.folder / "maps.npz") as stored:
        image_ids, raw = stored["image_id"].astype(str), stored["map"]
    places = chosen(image_ids, cell.config.explain.scored)
    return _Looks(image_ids[places], raw[places], cell.config.data.image_size)


def _frames(
    name: str, cells: Sequence[Cell], looks: _Looks, scores: Mapping[str, pd.DataFrame], found: Mapping[str, Agreement]
) -> list[pd.DataFrame]:
    table = scores[cells[0].key]
    group = dict(zip(table["image_id"], table["group"], strict=True))
    named = {"image_id": looks.image_ids, "group": [group[image] for image in looks.image_ids], "method": "grad_cam"}
    return [
        pd.DataFrame({"key": cell.key, **named, "metric": f"{name}_{metric}", "value": values})
        for cell in cells
        for measure, alike in found.items()
        for metric, values in ((measure, alike.same), (f"{measure}{REPAIRED}", alike.repaired))
    ]
