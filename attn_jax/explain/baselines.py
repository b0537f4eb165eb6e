"""Maps that know nothing of the network, to stand beside every method, and the one that knows all.

A method is worth its name where it beats them: the middle of the image goes far where disease is mostly there, and
Adebayo et al. 2018, arXiv 1810.03292, found the maps of some methods close to those of an edge detector.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real, Shaped
from scipy import ndimage

SHARE = 0.25


def know_nothing(images: Real[np.ndarray, "B *space C"], seed: int = 0) -> dict[str, Float[np.ndarray, "B *space"]]:
    """All that know nothing, by name: `"centre"`, `"edges"` and `"random"`."""
    shape = images.shape[:-1]
    return {"centre": centre(shape), "edges": edges(images), "random": noise(shape, seed)}


def centre(shape: Sequence[int], share: float = SHARE) -> Float[np.ndarray, "B *space"]:
    """A Gaussian in the middle of each image of `shape` [B, *space], 1 at its height.

    Its standard deviation along an axis is `share` of the side, so that it is as long and wide as the image.
    """
    _, *size = shape
    squares = [(((np.arange(side) + 0.5) / side - 0.5) / share) ** 2 for side in size]
    distance = np.zeros(size)
    for axis, square in enumerate(squares):
        distance += square.reshape([-1 if other == axis else 1 for other in range(len(size))])
    return np.broadcast_to(np.exp(-distance / 2), shape).copy()


def edges(images: Real[np.ndarray, "B *space C"]) -> Float[np.ndarray, "B *space"]:
    """Sobel's edges of each image's mean over channels: the root mean square over the axes, as in scikit-image."""
    grey = np.asarray(images, dtype=np.float64).mean(axis=-1)
    axes = range(1, grey.ndim)
    squares = np.zeros(grey.shape)
    for axis in axes:
        step = ndimage.correlate1d(grey, [-1, 0, 1], axis=axis)
        for other in set(axes) - {axis}:
            step = ndimage.correlate1d(step, [0.25, 0.5, 0.25], axis=other)
        squares += step**2
    return np.sqrt(squares / len(axes))


def noise(shape: Sequence[int], seed: int = 0) -> Float[np.ndarray, "B *space"]:
    """Independent uniform random numbers in [0, 1) at every pixel of `shape` [B, *space]."""
    return np.random.default_rng(seed).random(tuple(shape))


def segmentation(masks: Shaped[np.ndarray, "B *space"]) -> Float[np.ndarray, "B *space"]:
    """The mask itself, 1 inside and 0 outside: the ceiling of a measure of localisation."""
    return (np.asarray(masks) != 0).astype(np.float64)
