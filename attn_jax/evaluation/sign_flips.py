"""Exact two-sided tests by all changes of signs: of sums of whole numbers, and of ranks (Wilcoxon)."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

_DECIMALS = 12


def sign_flip_p(gains: Int[np.ndarray, "units"]) -> float:
    """The share of all 2^n sign changes whose sum is at least as far from 0 as that of `gains`: exact for any sizes.

    Gains of 1 and -1 alone make it McNemar's exact test. Sizes are added one after the other to the sum's distribution.
    """
    sizes = np.sort(np.abs(gains[gains != 0])).tolist()
    chance = np.ones(1)  # [j]: that the positive ones add up to j
    for size in sizes:
        chance = (np.pad(chance, (0, size)) + np.pad(chance, (size, 0))) / 2
    positive = int(gains[gains > 0].sum())
    # The distribution is symmetric.
    return min(1.0, 2 * float(chance[: min(positive, sum(sizes) - positive) + 1].sum()))


def signed_rank_p(differences: Float[np.ndarray, "pairs"]) -> float:
    """Wilcoxon's signed-rank test (1945), exact with ties and zeros.

    A difference of 0 is ranked and counts for neither side (Pratt 1959); differences closer than 1e-12 are equal.
    """
    rounded = np.round(differences, _DECIMALS)
    doubled = np.rint(2 * stats.rankdata(np.abs(rounded))).astype(np.int64)  # shared ranks end in .5
    return sign_flip_p(doubled * np.sign(rounded).astype(np.int64))
