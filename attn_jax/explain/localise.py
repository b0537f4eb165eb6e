"""How much of a map lies where the disease (or the tag) is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

from attn_jax.explain.arrays import rows, stretched

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_LEVELS = 256


class CheXlocalize(NamedTuple):
    """The two measures of CheXlocalize for each image, and the first one at fixed thresholds.

    `iou` is that of the foreground by Otsu's threshold with the mask, `hit` whether the highest pixel lies inside (see
    `pointing`), and `iou_at` has a row for each threshold on the map stretched to [0, 1].
    """

    iou: Float[np.ndarray, "B"]
    hit: Float[np.ndarray, "B"]
    iou_at: Float[np.ndarray, "thresholds B"]


def chexlocalize(
    maps: Real[np.ndarray, "B *space"],
    masks: Shaped[np.ndarray, "B *space"],
    thresholds: Sequence[float] = THRESHOLDS,
) -> CheXlocalize:
    """The protocol of Saporta et al. 2022, doi 10.1038/s42256-022-00536-x; mIoU and hit rate are means of its results.

    NaN for an empty mask or a constant map. Which images count (all with a mask, or those alone that the network also
    calls positive) is the caller's choice; the paper reports both.

    Args:
        maps: at the size of the image.
        masks: what is not 0 is inside.
        thresholds: foreground is what lies above them; the code of the paper tunes one on the validation images.

    Raises:
        ValueError: maps and masks differ in shape.
    """
    flat, inside = rows(maps, masks)
    scaled = stretched(flat)
    fixed = [_iou(scaled > threshold, inside, scaled) for threshold in thresholds]
    iou_at = np.array(fixed).reshape(len(fixed), len(flat))
    return CheXlocalize(_iou(otsu(flat), inside, scaled), pointing(flat, inside), iou_at)


def otsu(maps: Real[np.ndarray, "B *space"]) -> Bool[np.ndarray, "B *space"]:
    """Each map's foreground by Otsu's threshold (1979, doi 10.1109/TSMC.1979.4310076) on 256 levels.

    The threshold that keeps the variance between the two classes highest, of several the lowest; levels are those of
    CheXlocalize's code: 255 times the map stretched to [0, 1], rounded down. A constant map has no foreground.
    """
    scaled = stretched(maps).reshape(len(maps), -1)
    level = np.floor((_LEVELS - 1) * np.nan_to_num(scaled)).astype(np.intp)
    images, pixels = level.shape
    offset = _LEVELS * np.arange(images)[:, None]
    counts = np.bincount((level + offset).ravel(), minlength=images * _LEVELS).reshape(images, _LEVELS)
    below = counts.cumsum(axis=1)
    total = (counts * np.arange(_LEVELS)).cumsum(axis=1)
    apart = (total[:, -1:] * below - total * pixels).astype(np.float64)
    between = apart**2 / np.maximum(below * (pixels - below), 1)
    return (level > between.argmax(axis=1)[:, None]).reshape(np.shape(maps))


def energy_in_mask(maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Share of each map's sum that lies inside its mask (Score-CAM's energy-based pointing game, arXiv 1910.01279).

    An even map scores the mask's share of the image. What is not 0 in a mask is inside.
    NaN for an empty mask or a map that is 0 all over.

    Raises:
        ValueError: maps and masks differ in shape, or a map is negative somewhere.
    """
    maps, masks = rows(maps, masks)
    if (maps < 0).any():
        raise ValueError("a map is negative somewhere; energy needs maps of at least 0")
    total = maps.sum(axis=1)
    inside = np.where(masks, maps, 0).sum(axis=1)
    defined = (total > 0) & masks.any(axis=1)
    return np.where(defined, inside / np.where(defined, total, 1), np.nan)


def pointing(maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Whether each map's highest pixel lies inside its mask: 1, 0, or of several highest the share inside.

    NaN for an empty mask or a constant map, which points nowhere (the pointing game of arXiv 1608.00507).

    Raises:
        ValueError: maps and masks differ in shape.
    """
    maps, masks = rows(maps, masks)
    highest = maps == maps.max(axis=1, keepdims=True)
    hits = (highest & masks).sum(axis=1) / np.maximum(highest.sum(axis=1), 1)
    defined = masks.any(axis=1) & highest.any(axis=1) & ~highest.all(axis=1)
    return np.where(defined, hits, np.nan)


def _iou(
    foreground: Bool[np.ndarray, "B P"], inside: Bool[np.ndarray, "B P"], scaled: Float[np.ndarray, "B P"]
) -> Float[np.ndarray, "B"]:
    defined = inside.any(axis=1) & ~np.isnan(scaled).any(axis=1)
    union = (foreground | inside).sum(axis=1)
    return np.where(defined, (foreground & inside).sum(axis=1) / np.maximum(union, 1), np.nan)
