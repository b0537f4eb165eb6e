"""Whether maps hold from run to run and from network to network, and fall with the network's weights.

Repeatability, reproducibility and sensitivity to weights of Arun et al. 2021, arXiv 2008.02766; the last goes back to
Adebayo et al. 2018, arXiv 1810.03292. Each stands beside what maps of different images share anyway. Differs from the
paper: it draws 50 pairs of images; here every image meets one other, anew for each pair of runs.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from attn_jax.errors import UserError
from attn_jax.explain.similarity import ssim

Maps = Real[np.ndarray, "B *space"]
Similarity = Callable[[Maps, Maps], Float[np.ndarray, "B"]]


class Agreement(NamedTuple):
    """How alike two maps of each image are (`same`), and a map of it and one of another image (`repaired`).

    NaN where no pair of maps has a similarity, and in `repaired` also where there is one image only.
    """

    same: Float[np.ndarray, "B"]
    repaired: Float[np.ndarray, "B"]


def repeatability(runs: Real[np.ndarray, "R B *space"], similarity: Similarity = ssim, seed: int = 0) -> Agreement:
    """How alike the maps of one network are from training seed to training seed: the mean over all pairs of runs.

    Args:
        runs: the maps of each run, of the same images.
        similarity: `ssim`, `spearman` or another of two batches of maps.
        seed: of the pairing of different images.

    Raises:
        UserError: fewer than two runs.
    """
    if len(runs) < 2:
        raise UserError(f"repeatability needs two runs of a network, not {len(runs)}; train it with another seed")
    return _agreement(itertools.combinations(runs, 2), similarity, seed)


def reproducibility(
    networks: Sequence[Real[np.ndarray, "R B *space"]], similarity: Similarity = ssim, seed: int = 0
) -> Agreement:
    """How alike the maps of different networks are: the mean over all pairs of a run of one and a run of another.

    Args:
        networks: the maps of each network's runs, of the same images and brought to one size; any number of runs.
        similarity: `ssim`, `spearman` or another of two batches of maps.
        seed: of the pairing of different images.

    Raises:
        UserError: fewer than two networks, or one without a run.
    """
    if len(networks) < 2 or not all(map(len, networks)):
        counts = [len(runs) for runs in networks]
        raise UserError(f"reproducibility needs a run each of two networks, not {counts} runs")
    pairs = (pair for one, other in itertools.combinations(networks, 2) for pair in itertools.product(one, other))
    return _agreement(pairs, similarity, seed)


def randomisation(before: Maps, after: Maps, similarity: Similarity = ssim, seed: int = 0) -> Agreement:
    """How alike maps are before and after weights were drawn anew (see `randomise.cascade`).

    The baseline is the similarity of maps of different images, both before. A method that depends on the weights falls
    below it; an edge detector stays at 1.
    """
    other = _other_images(len(before), np.random.default_rng(seed))
    return Agreement(similarity(before, after), _repaired(before, before, other, similarity))


def _agreement(pairs: Iterable[tuple[Maps, Maps]], similarity: Similarity, seed: int) -> Agreement:
    rng = np.random.default_rng(seed)
    same, repaired = [], []
    for one, other in pairs:
        same.append(similarity(one, other))
        repaired.append(_repaired(one, other, _other_images(len(one), rng), similarity))
    return Agreement(_mean(np.array(same)), _mean(np.array(repaired)))


def _repaired(one: Maps, other: Maps, images: Int[np.ndarray, "B"], similarity: Similarity) -> Float[np.ndarray, "B"]:
    return similarity(one, other[images]) if len(one) > 1 else np.full(len(one), np.nan)


def _other_images(count: int, rng: np.random.Generator) -> Int[np.ndarray, "B"]:
    """Another image for each, every image once: the next one of a random circle."""
    circle = rng.permutation(count)
    other = np.empty(count, dtype=np.intp)
    other[circle] = np.roll(circle, -1)
    return other


def _mean(values: Float[np.ndarray, "n *rest"]) -> Float[np.ndarray, "*rest"]:
    """Over the first axis, without NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
