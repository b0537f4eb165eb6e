"""Maps and masks as their measures want them: an image a row, on one scale."""

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped


def rows(
    maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]
) -> tuple[Float[np.ndarray, "B P"], Bool[np.ndarray, "B P"]]:
    """Maps in float64 and masks as truth values, the pixels of an image in a row. What is not 0 in a mask is inside.

    Raises:
        ValueError: maps and masks differ in shape.
    """
    maps, masks = np.asarray(maps, dtype=np.float64), np.asarray(masks).astype(bool)
    if maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} differ; bring both to the image's size first")
    return maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)


def finite(maps: Real[np.ndarray, "B *space"]) -> Bool[np.ndarray, "B"]:
    """Which maps have neither NaN nor an infinity."""
    return np.isfinite(maps).all(axis=tuple(range(1, np.ndim(maps))))


def stretched(maps: Real[np.ndarray, "B *space"]) -> Float[np.ndarray, "B *space"]:
    """Each map in float64 from 0 at its lowest to 1 at its highest value.

    NaN all over a map that is constant or not finite everywhere: it has no scale.
    """
    maps = np.asarray(maps, dtype=np.float64)
    space = tuple(range(1, maps.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        low = maps.min(axis=space, keepdims=True)
        spread = maps.max(axis=space, keepdims=True) - low
        defined = np.isfinite(spread) & (spread > 0)
        return np.where(defined, (maps - low) / np.where(defined, spread, 1), np.nan)
