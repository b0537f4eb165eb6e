"""Whether the network needs the pixels that a map calls important: insertion and deletion.

Petsiuk et al. 2018, RISE, arXiv 1806.07421. Pixels are taken from the highest to the lowest value of the
map, those of equal value in a seeded random order that is the same for all images. So a result does not depend on the
images beside it, and a constant map has what that order is worth. NaN where a map is not finite.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy import ndimage

from attn_jax.errors import UserError
from attn_jax.explain.arrays import finite

# Lesions are small: most of what happens does so while the first pixels change.
SHARES = (0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.75, 1)
BATCH = 128
# RISE blurs images of 224 pixels with a standard deviation of 5, cut off at 11 pixels; ours is not cut off.
BLUR = 5 / 224
Images = Float[np.ndarray, "M *space C"]
Predict = Callable[[Images], Any]


class Curve(NamedTuple):
    """What the network gives where `share` of the pixels is changed, and the area below it (trapezoids)."""

    auc: Float[np.ndarray, "B"]
    scores: Float[np.ndarray, "B shares"]
    share: Float[np.ndarray, "shares"]


def deletion(
    predict: Predict,
    images: Float[np.ndarray, "B *space C"],
    maps: Real[np.ndarray, "B *space"],
    *,
    shares: Sequence[float] = SHARES,
    fill: str = "zeros",
    seed: int = 0,
    batch: int = BATCH,
) -> Curve:
    """The most important pixels are taken away first: the sooner the probability falls, the smaller the area.

    Args:
        predict: from images as the network takes them, `batch` at a time (one shape, one compile), to the probability
            of the target [M]. Images with another target need another call.
        images: 2-D or 3-D, normalised.
        maps: of the images' size; only the order of their pixels counts.
        shares: of the pixels that are changed when the network is asked, rising from 0 to 1; each is taken to the
            nearest pixel. `np.linspace(0, 1, n + 1)` makes n equal steps.
        fill: what a pixel becomes, `"zeros"` (after normalisation, the data's mean) or the `"mean"` of its image.
        seed: of the order of equal pixels.
        batch: images in one call of `predict`.

    Raises:
        UserError: `fill` or `shares` is impossible.
        ValueError: images and maps differ in size, or `predict` does not give one number an image.
    """
    if fill not in ("zeros", "mean"):
        raise UserError(f"fill={fill!r} is neither 'zeros' nor 'mean'")
    space = tuple(range(1, images.ndim - 1))
    empty = (
        np.zeros_like(images) if fill == "zeros" else np.broadcast_to(images.mean(space, keepdims=True), images.shape)
    )
    return _curve(predict, images, empty, maps, shares, seed, batch)


def insertion(
    predict: Predict,
    images: Float[np.ndarray, "B *space C"],
    maps: Real[np.ndarray, "B *space"],
    *,
    shares: Sequence[float] = SHARES,
    blur: float = BLUR,
    seed: int = 0,
    batch: int = BATCH,
) -> Curve:
    """The most important pixels come first into a blurred image: the sooner the probability rises, the larger the area.

    `blur` is the standard deviation of the Gaussian as a share of each side; large lesions ask for more than RISE's.
    The rest, and what is raised, is as for `deletion`.
    """
    axes = tuple(range(1, images.ndim - 1))
    sigma = [blur * images.shape[axis] for axis in axes]
    blurred = ndimage.gaussian_filter(images, sigma, axes=axes)
    return _curve(predict, blurred, images, maps, shares, seed, batch)


def removal_rank(maps: Real[np.ndarray, "B *space"], seed: int = 0) -> Int[np.ndarray, "B *space"]:
    """The place of each pixel in the order from the highest value (0) to the lowest; equal ones in a seeded order."""
    flat = np.asarray(maps, dtype=np.float64).reshape(len(maps), -1)
    shuffle = np.random.default_rng(seed).permutation(flat.shape[1])
    order = shuffle[np.argsort(-flat[:, shuffle], axis=1, kind="stable")]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[None, :], axis=1)
    return rank.reshape(np.shape(maps))


def orders(maps: Real[np.ndarray, "B *space"]) -> Bool[np.ndarray, "B"]:
    """Whether each map puts its pixels in an order of its own: it is finite, and not constant."""
    flat = np.reshape(maps, (len(maps), -1))
    return finite(maps) & (flat != flat[:, :1]).any(axis=1)


def predicted(
    predict: Predict, make: Callable[[Int[np.ndarray, "n"]], Images], count: int, batch: int
) -> Float[np.ndarray, "count"]:
    """What `predict` gives for the images that `make` makes of 0 to `count` - 1, `batch` at a time.

    All calls have the same number of images: in the last some are repeated.

    Raises:
        ValueError: `predict` does not give one number an image.
    """
    batch = max(1, min(batch, count))
    found = np.empty(count)
    for start in range(0, count, batch):
        numbers = np.arange(start, min(start + batch, count))
        scores = np.asarray(predict(make(np.resize(numbers, batch))), dtype=np.float64)
        if scores.shape != (batch,):
            raise ValueError(f"predict gave {scores.shape} for {batch} images; it must give [{batch}] probabilities")
        found[numbers] = scores[: len(numbers)]
    return found


def of_one_size(images: Float[np.ndarray, "B *space C"], maps: Real[np.ndarray, "B *space"]) -> None:
    """Refuses maps of another size than their images.

    Raises:
        ValueError: they differ.
    """
    if np.shape(images)[:-1] != np.shape(maps):
        raise ValueError(f"images {np.shape(images)} and maps {np.shape(maps)} differ; bring maps to the image's size")


def _curve(
    predict: Predict, before: Images, after: Images, maps: np.ndarray, shares: Sequence[float], seed: int, batch: int
) -> Curve:
    of_one_size(before, maps)
    wanted = np.asarray(shares, dtype=np.float64)
    if wanted.ndim != 1 or len(wanted) < 2 or (wanted[0], wanted[-1]) != (0, 1) or not (np.diff(wanted) > 0).all():
        raise UserError(f"shares={wanted.tolist()} do not rise from 0 to 1")
    pixels = int(np.prod(maps.shape[1:]))
    changed = np.rint(wanted * pixels).astype(np.intp)
    rank = removal_rank(maps, seed)[..., None]

    def at_share(numbers: Int[np.ndarray, "n"]) -> Images:
        image, which = np.divmod(numbers, len(changed))
        limit = changed[which].reshape(-1, *[1] * (before.ndim - 1))
        return np.where(rank[image] < limit, after[image], before[image])

    scores = predicted(predict, at_share, len(maps) * len(changed), batch).reshape(len(maps), len(changed))
    scores[~finite(maps)] = np.nan
    share = changed / pixels
    return Curve(np.trapezoid(scores, share, axis=1), scores, share)
