"""How much of a map lies where the disease (or the tag) is."""

import numpy as np
from jaxtyping import Float, Real, Shaped


def energy_in_mask(maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Share of each map's sum that lies inside its mask (Score-CAM's energy-based pointing game, arXiv 1910.01279).

    An even map scores the mask's share of the image. What is not 0 in a mask is inside.
    NaN for an empty mask or a map that is 0 all over.

    Raises:
        ValueError: maps and masks differ in shape, or a map is negative somewhere.
    """
    maps, masks = _flat(maps, masks)
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
    maps, masks = _flat(maps, masks)
    highest = maps == maps.max(axis=1, keepdims=True)
    hits = (highest & masks).sum(axis=1) / highest.sum(axis=1)
    return np.where(masks.any(axis=1) & ~highest.all(axis=1), hits, np.nan)


def _flat(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, masks = np.asarray(maps, dtype=np.float64), np.asarray(masks).astype(bool)
    if maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} differ; bring both to the image's size first")
    return maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
