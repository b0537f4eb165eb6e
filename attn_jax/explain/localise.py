"""How much of a map lies where the disease (or the tag) is.

A finite map always has a score, a constant one too, lest a dead network be judged by its other maps alone. NaN is for
an empty mask and for a map that is not finite.
"""

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped
from scipy import ndimage

from attn_jax.errors import UserError
from attn_jax.explain.arrays import finite, rows, stretched

_LEVELS = 256


def otsu_iou(maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Intersection over union of each map's foreground (`otsu`) with its mask.

    With the hit rate (`pointing`) the protocol of CheXlocalize, Saporta et al. 2022, doi 10.1038/s42256-022-00536-x;
    mIoU and hit rate are the means. Which images count (all with a mask, or those alone that the network also calls
    positive) is the caller's choice; the paper reports both. What is not 0 in a mask is inside. A constant map has no
    foreground and so 0, as a finding that is there and was not segmented. NaN for an empty mask or a map that is not
    finite.

    Raises:
        ValueError: maps and masks differ in shape.
    """
    flat, inside = rows(maps, masks)
    foreground = otsu(flat)
    union = (foreground | inside).sum(axis=1)
    defined = inside.any(axis=1) & finite(flat)
    return np.where(defined, (foreground & inside).sum(axis=1) / np.maximum(union, 1), np.nan)


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

    An even map scores the mask's share of the image, one that is 0 all over, too. What is not 0 in a mask is inside.
    NaN for an empty mask or a map that is not finite.

    Raises:
        ValueError: maps and masks differ in shape, or a map is negative somewhere.
    """
    flat, inside = rows(maps, masks)
    if (flat < 0).any():
        raise ValueError("a map is negative somewhere; energy needs maps of at least 0")
    known = finite(flat)
    flat = np.where(known[:, None], flat, 0)
    total = flat.sum(axis=1)
    energy = np.where(inside, flat, 0).sum(axis=1)
    share = np.where(total > 0, energy / np.where(total > 0, total, 1), inside.mean(axis=1))
    return np.where(known & inside.any(axis=1), share, np.nan)


def pointing(
    maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"], tolerance: float = 0
) -> Float[np.ndarray, "B"]:
    """Whether each map's highest pixel lies in its mask: 1, 0, or of several highest the share inside.

    So a constant map scores the share of the image that counts as inside. NaN for an empty mask or a map that is not
    finite. Without a tolerance the hit rate of CheXlocalize, with one the pointing game of arXiv 1608.00507, which
    allows 15 pixels.

    Args:
        maps: 2-D or 3-D.
        masks: what is not 0 is inside.
        tolerance: how many pixels from the nearest one of the mask still count as inside.

    Raises:
        UserError: a negative tolerance.
        ValueError: maps and masks differ in shape.
    """
    if not tolerance >= 0:
        raise UserError(f"tolerance={tolerance} is not a distance of at least 0 pixels")
    flat, inside = rows(maps, masks)
    near = _widened(inside.reshape(np.shape(maps)), tolerance).reshape(inside.shape) if tolerance else inside
    highest = flat == flat.max(axis=1, keepdims=True)
    hits = (highest & near).sum(axis=1) / np.maximum(highest.sum(axis=1), 1)
    return np.where(inside.any(axis=1) & finite(flat), hits, np.nan)


def _widened(inside: Bool[np.ndarray, "B *space"], distance: float) -> Bool[np.ndarray, "B *space"]:
    return np.stack([ndimage.distance_transform_edt(~mask) <= distance for mask in inside])
