"""Exact two-sided tests by all changes of signs: of sums of whole numbers, and of ranks (Wilcoxon)."""

import functools

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

_DECIMALS = 12


def sign_flip_p(gains: Int[np.ndarray, "units"]) -> float:
    """The share of all 2^n sign changes whose sum is at least as far from 0 as that of `gains`: exact for any sizes.

    Gains of 1 and -1 alone make it McNemar's exact test. Of each size a binomial number is positive.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    chance = np.ones(1)  # [j]: that the positive ones add up to j
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = _heads(count)
        chance = np.convolve(chance, own)
    positive = int(gains[gains > 0].sum())
    # The distribution is symmetric.
    return min(1.0, 2 * float(chance[: min(positive, int(sizes @ counts) - positive) + 1].sum()))


@functools.lru_cache(maxsize=256)
def _heads(count: int) -> Float[np.ndarray, "counts"]:
    """The chance of each number of heads in `count` tosses, correctly rounded: `binom.pmf` is not."""
    ways, found = 1, []
    for heads in range(count + 1):
        found.append(ways / (1 << count))
        ways = ways * (count - heads) // (heads + 1)
    return np.array(found)


def signed_rank_p(differences: Float[np.ndarray, "pairs"]) -> float:
    """Wilcoxon's signed-rank test (1945), exact with ties and zeros.

    A difference of 0 is ranked and counts for neither side (Pratt 1959); differences closer than 1e-12 are equal.
    """
    rounded = np.round(differences, _DECIMALS)
    doubled = np.rint(2 * stats.rankdata(np.abs(rounded))).astype(np.int64)  # shared ranks end in .5
    return sign_flip_p(doubled * np.sign(rounded).astype(np.int64))
