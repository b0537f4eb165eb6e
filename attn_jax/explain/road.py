"""Remove and Debias (ROAD): pixels are removed by drawing over them what their neighbours suggest.

Rong et al. 2022, arXiv 2202.00449. A removed pixel becomes the weighted mean of its eight neighbours, 1/6 for a direct
and 1/12 for a diagonal one (the weights of their code), whether they are removed themselves or not, and a little noise.
So the network sees no black hole with the outline of what was removed. The noise is the same for all images and orders.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy import sparse
from scipy.sparse.linalg import splu

from attn_jax.errors import UserError
from attn_jax.explain.arrays import finite
from attn_jax.explain.faithfulness import BATCH, Predict, of_one_size, predicted, removal_rank

PERCENTAGES = (20, 40, 60, 80)
NOISE = 0.01


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
    images: Float[np.ndarray, "B H W C"],
    maps: Real[np.ndarray, "B H W"],
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
        images: 2-D, normalised.
        maps: of the images' size; only the order of their pixels counts.
        percentages: of the pixels, to the nearest one.
        noise: standard deviation of what is added to removed pixels, in units of the images.
        seed: of the noise and of the order of equal pixels.
        batch: images in one call of `predict`.

    Raises:
        UserError: volumes, or percentages that leave or remove no pixel.
        ValueError: images and maps differ in size, or `predict` does not give one number an image.
    """
    _plane(images)
    of_one_size(images, maps)
    pixels = int(np.prod(maps.shape[1:]))
    removed = np.rint(np.asarray(percentages, dtype=np.float64) / 100 * pixels).astype(np.intp)
    if not ((removed > 0) & (removed < pixels)).all():
        raise UserError(
            f"percentages={tuple(percentages)} must each remove some of the {pixels} pixels, and leave some"
        )
    rank = removal_rank(maps, seed)
    shape = (len(maps), 2, len(removed))

    def without(numbers: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n H W C"]:
        image, least_first, which = np.unravel_index(numbers, shape)
        place = np.where(least_first[:, None, None] == 1, pixels - 1 - rank[image], rank[image])
        return impute(images[image], place < removed[which][:, None, None], noise, seed)

    scores = predicted(predict, without, int(np.prod(shape)), batch).reshape(shape)
    scores[~finite(maps)] = np.nan
    morf, lerf = scores[:, 0], scores[:, 1]
    return Road(morf, lerf, ((lerf - morf) / 2).mean(axis=1))


def impute(
    images: Float[np.ndarray, "B H W C"], removed: Bool[np.ndarray, "B H W"], noise: float = NOISE, seed: int = 0
) -> Float[np.ndarray, "B H W C"]:
    """Noisy linear imputation: the removed pixels of each image from those that are left.

    At the image's edge the mean is over the neighbours that are there.

    Raises:
        UserError: volumes, or an image without a pixel left.
    """
    _plane(images)
    if removed.all(axis=(1, 2)).any():
        raise UserError("an image has no pixel left to impute the removed ones from")
    filled = images.copy()
    grain = noise * np.random.default_rng(seed).standard_normal(images.shape[1:])
    system = _system(*images.shape[1:3])
    for image, gone in zip(filled, removed, strict=True):
        if gone.any():
            image[gone] = _solved(system, image.reshape(gone.size, -1), gone.ravel()) + grain[gone]
    return filled


def _plane(images: np.ndarray) -> None:
    if images.ndim != 4:
        raise UserError(f"images of shape {images.shape} are not [B, H, W, C]; ROAD imputes 2-D images only")


def _solved(
    system: sparse.csr_array, pixels: Float[np.ndarray, "P C"], gone: Bool[np.ndarray, "P"]
) -> Float[np.ndarray, "removed C"]:
    unknown, known = np.flatnonzero(gone), np.flatnonzero(~gone)
    rows = system[unknown]
    # Symmetric and diagonally dominant: no pivoting, and the ordering for such matrices.
    factors = splu(
        rows[:, unknown].tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True}
    )
    return factors.solve(-(rows[:, known] @ pixels[known].astype(np.float64)))


@functools.lru_cache(maxsize=4)
def _system(height: int, width: int) -> sparse.csr_array:
    """What makes every pixel the weighted mean of its neighbours: their weights' sum less the weights, [P, P]."""
    down, right = (
        sparse.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1], shape=(side, side)) for side in (height, width)
    )
    one_row, one_column = sparse.eye_array(height), sparse.eye_array(width)
    direct = sparse.kron(one_row, right) + sparse.kron(down, one_column)
    weights = direct / 6 + sparse.kron(down, right) / 12
    return (sparse.diags_array(weights.sum(axis=1)) - weights).tocsr()
