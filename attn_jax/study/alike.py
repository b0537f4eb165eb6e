"""How alike two maps of one image are, each made ready once for all the maps that it is compared with.

The same numbers as `ssim` and `spearman` of `explain.similarity`, which rank and smooth both maps for every pair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, Real
from scipy import ndimage

from attn_jax.explain.grad_cam import to_image

SIMILARITIES = ("ssim", "spearman")
_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


class Ready(NamedTuple):
    """A map as both measures want it; None where it is constant or not finite and so like no other.

    `scaled` is the map over its image from 0 to 1, `mean`, `square` and `variance` the mean of each window that lies in
    it entirely, that mean's square and the window's variance, and `ranks` the centred ranks of its pixels, at a length
    of 1.
    """

    scaled: Float[np.ndarray, "*space"]
    mean: Float[np.ndarray, "*inside"]
    square: Float[np.ndarray, "*inside"]
    variance: Float[np.ndarray, "*inside"]
    ranks: Float[np.ndarray, "P"]


def ready(raw: Real[np.ndarray, "*map"], size: Sequence[int]) -> Ready | None:
    """A raw map, laid over an image of `size`."""
    drawn = np.asarray(to_image(raw[None], size))[0]
    low, high = drawn.min(), drawn.max()
    if not (np.isfinite(raw).all() and low < high):
        return None
    scaled = (drawn.astype(np.float64) - low) / (float(high) - low)
    mean = _mean(scaled)
    square = mean**2
    variance = _sample(scaled.ndim) * (_mean(scaled**2) - square)
    return Ready(scaled, mean, square, variance, _ranks(drawn.ravel()))


def alike(one: Ready | None, other: Ready | None) -> tuple[float, float]:
    """The `SIMILARITIES` of two maps of one size; NaN where one is constant, and SSIM below 7 pixels a side."""
    if one is None or other is None:
        return np.nan, np.nan
    rank = float(one.ranks @ other.ranks)
    if min(one.scaled.shape) < _WINDOW:
        return np.nan, rank
    product = one.mean * other.mean
    covariance = _mean(one.scaled * other.scaled)
    covariance -= product
    covariance *= 2 * _sample(one.scaled.ndim)
    similar = (2 * product + _C1) * (covariance + _C2)
    similar /= (one.square + other.square + _C1) * (one.variance + other.variance + _C2)
    return float(similar.mean()), rank


def circle(count: int) -> Int[np.ndarray, "count"]:
    """The images in a seeded random order, in which each is compared with the map of the next one, the last with the
    first: what maps of different images share."""
    return np.random.default_rng(0).permutation(count)


def _mean(values: Float[np.ndarray, "*space"]) -> Float[np.ndarray, "*inside"]:
    """Of each window that lies in the map entirely; OpenCV takes a quarter of SciPy's time, in 2-D."""
    means = cv2.blur(values, (_WINDOW, _WINDOW)) if values.ndim == 2 else ndimage.uniform_filter(values, _WINDOW)
    return means[(slice(_WINDOW // 2, -(_WINDOW // 2)),) * values.ndim]


def _sample(dimensions: int) -> float:
    pixels = _WINDOW**dimensions
    return pixels / (pixels - 1)


def _ranks(values: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Equal pixels share their mean rank."""
    order = values.argsort()
    ordered = values[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (sizes - 1) / 2, sizes) - (len(values) - 1) / 2
    return ranks / np.sqrt((ranks**2).sum())
