"""Remove and Debias (ROAD): pixels are removed by drawing over them what their neighbours suggest.

Rong et al. 2022, arXiv 2202.00449. A removed pixel becomes the weighted mean of its eight neighbours, 1/6 for a direct
and 1/12 for a diagonal one (the weights of their code), whether they are removed themselves or not, and a little noise.
So the network sees no black hole with the outline of what was removed. The noise is the same for all images and orders.
A voxel has 26 neighbours, which count 4, 2 or 1 as they share a face, an edge or a corner with it (the paper has images
only).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int, Real

from attn_jax.errors import UserError
from attn_jax.explain.arrays import finite
from attn_jax.explain.faithfulness import BATCH, Predict, of_one_size, predicted, removal_rank

PERCENTAGES = (20, 40, 60, 80)
NOISE = 0.01
_TOLERANCE = 1e-6
_MOST_STEPS = 2000


class Road(NamedTuple):
    """Probabilities after each percentage was removed, the most (`morf`) or least relevant pixels first (`lerf`).

    `combined` is the mean of (lerf - morf) / 2 over the percentages, as `ROADCombined` of pytorch-grad-cam has it: 0
    for an order that means nothing, larger for a more faithful one.
    """

    morf: Float[np.ndarray, "B percentages"]
    lerf: Float[np.ndarray, "B percentages"]
    combined: Float[np.ndarray, "B"]


def road(
    predict: Predict,
    images: Float[np.ndarray, "B *space C"],
    maps: Real[np.ndarray, "B *space"],
    *,
    percentages: Sequence[float] = PERCENTAGES,
    noise: float = NOISE,
    seed: int = 0,
    batch: int = BATCH,
) -> Road:
    """How much more the most relevant pixels matter than the least relevant ones.

    Pixels of equal value come in a seeded random order, all those of a constant map. NaN where a map is not finite.

    Args:
        predict: as for `faithfulness.deletion`.
        images: normalised.
        maps: of the images' size; only the order of their pixels counts.
        percentages: of the pixels, to the nearest one.
        noise: standard deviation of what is added to removed pixels, in units of the images.
        seed: of the noise and of the order of equal pixels.
        batch: images in one call of `predict`.

    Raises:
        UserError: percentages that leave or remove no pixel.
        ValueError: images and maps differ in size, or `predict` does not give one number an image.
    """
    of_one_size(images, maps)
    pixels = int(np.prod(maps.shape[1:]))
    removed = np.rint(np.asarray(percentages, dtype=np.float64) / 100 * pixels).astype(np.intp)
    if not ((removed > 0) & (removed < pixels)).all():
        raise UserError(
            f"percentages={tuple(percentages)} must each remove some of the {pixels} pixels, and leave some"
        )
    rank = removal_rank(maps, seed)
    shape = (len(maps), 2, len(removed))

    def without(numbers: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n *space C"]:
        image, *chosen = np.unravel_index(numbers, shape)
        least_first, which = (np.expand_dims(number, tuple(range(1, maps.ndim))) for number in chosen)
        place = np.where(least_first == 1, pixels - 1 - rank[image], rank[image])
        return impute(images[image], place < removed[which], noise, seed)

    scores = predicted(predict, without, int(np.prod(shape)), batch).reshape(shape)
    scores[~finite(maps)] = np.nan
    morf, lerf = scores[:, 0], scores[:, 1]
    return Road(morf, lerf, ((lerf - morf) / 2).mean(axis=1))


def impute(
    images: Float[np.ndarray, "B *space C"], removed: Bool[np.ndarray, "B *space"], noise: float = NOISE, seed: int = 0
) -> Float[np.ndarray, "B *space C"]:
    """Noisy linear imputation: the removed pixels of each image from those that are left.

    At the image's edge the mean is over the neighbours that are there. Solved in single precision to a relative
    residual of 1e-6.

    Raises:
        UserError: an image without a pixel left.
    """
    if removed.reshape(len(removed), -1).all(axis=1).any():
        raise UserError("an image has no pixel left to impute the removed ones from")
    filled = images.copy()
    grain = noise * np.random.default_rng(seed).standard_normal(images.shape[1:])
    solved = np.asarray(_solved(jnp.asarray(images, jnp.float32), jnp.asarray(removed)))
    filled[removed] = (solved + grain)[removed]
    return filled


@jax.jit
def _solved(images: Float[Array, "B *space C"], removed: Bool[Array, "B *space"]) -> Float[Array, "B *space C"]:
    """The removed pixels, by conjugate gradients: the system is symmetric, diagonally dominant and sparse."""
    axes = range(images.ndim - 2)
    total = _of_neighbours(jnp.ones((*images.shape[1:-1], 1)))

    def one(image: Float[Array, "*space C"], gone: Bool[Array, "*space 1"]) -> Float[Array, "*space C"]:
        known = jnp.where(gone, 0, image)
        mean = known.sum(axis=axes, keepdims=True) / (~gone).sum()
        solution, _ = cg(
            lambda pixels: jnp.where(gone, total * pixels - _of_neighbours(pixels), 0),
            jnp.where(gone, _of_neighbours(known), 0),
            x0=jnp.where(gone, mean, 0),
            tol=_TOLERANCE,
            maxiter=_MOST_STEPS,
        )
        return solution

    return jax.vmap(one)(images, removed[..., None])


def _of_neighbours(pixels: Float[Array, "*space C"]) -> Float[Array, "*space C"]:
    """The sum over each pixel's neighbours by their weights, nothing beyond the edge.

    (1, 2, 1) along every axis, less the pixel itself: a neighbour counts half as much for each axis it is off by.
    """
    summed = pixels
    for axis in range(pixels.ndim - 1):
        side = pixels.shape[axis]
        padded = jnp.pad(summed, [(1, 1) if at == axis else (0, 0) for at in range(pixels.ndim)])
        before, here, after = (lax.slice_in_dim(padded, start, start + side, axis=axis) for start in range(3))
        summed = before + 2 * here + after
    own = 2 ** (pixels.ndim - 1)
    return (summed - own * pixels) / (own**2 - own)
