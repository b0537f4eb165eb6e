"""Whether probabilities mean what they say."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

BINS = 15


class Reliability(NamedTuple):
    """Per bin: how many images fell in, their mean, and the share of them that came true (NaN in an empty bin)."""

    images: Int[np.ndarray, "bins"]
    score: Float[np.ndarray, "bins"]
    frequency: Float[np.ndarray, "bins"]


def reliability(truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], bins: int = BINS) -> Reliability:
    """Sorts scores into `bins` of equal width over [0, 1], each open below and closed above; 0 is in the first."""
    edges = np.linspace(0, 1, bins + 1)
    at = np.clip(np.searchsorted(edges, score, side="left") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    divisor = np.where(count == 0, np.nan, count)
    sums = [np.bincount(at, weights=values.astype(np.float64), minlength=bins) for values in (score, truth)]
    return Reliability(count, sums[0] / divisor, sums[1] / divisor)


def expected_calibration_error(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], bins: int = BINS
) -> float | None:
    """Mean gap between score and frequency over bins of equal width, weighted by count (Guo et al., arXiv 1706.04599).

    What is binned is the caller's choice: the probability of the positive for a yes-or-no question; for more classes
    the highest probability, with `truth` telling whether that class was right. None without scores.
    """
    if not len(score):
        return None
    found = reliability(truth, score, bins)
    filled = found.images > 0
    gaps = np.abs(found.score - found.frequency)[filled]
    return float(np.average(gaps, weights=found.images[filled]))
