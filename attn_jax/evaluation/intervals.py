"""Intervals of one number: from bootstrap replicates (percentile, BCa) and in closed form (Wilson)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

LEVEL = 0.95
NO_INTERVAL = {"ece": "no interval holds the truth of ECE: it is above 0 by chance, and in replicates twice"}
"""Metrics without an interval, and why."""
FEWEST_OF_A_KIND = 30
"""Patients with a positive (or negative) image below which docs/coverage.md shows intervals that miss too often."""
LIMITS = {"mcc": (-1.0, 1.0), "kappa": (-1.0, 1.0), "brier": (0.0, 2.0), "log_loss": (0.0, np.inf)}
"""The least and the greatest value of the metrics that are not between 0 and 1."""


class Interval(NamedTuple):
    """Lower and upper bound, and the share of replicates in which the number was undefined (and so left out)."""

    low: float
    high: float
    undefined: float = 0.0


def percentile(values: Float[np.ndarray, "replicates"], level: float = LEVEL) -> Interval | None:
    """The central `level` of the replicates (Efron 1979). NaN is left out; None if fewer than two remain."""
    return _quantiles(values, (1 - level) / 2, (1 + level) / 2)


def bca(
    values: Float[np.ndarray, "replicates"],
    point: float,
    jackknife: Float[np.ndarray, "clusters"],
    level: float = LEVEL,
) -> Interval | None:
    """Bias-corrected and accelerated interval (Efron 1987, doi 10.1080/01621459.1987.10478410, section 3).

    Args:
        values: the number in each replicate; NaN is left out, and of equal values half count as below `point`.
        point: the number itself.
        jackknife: the number without one cluster, for each cluster; NaN is left out.

    Returns:
        None where no replicate lies on one side of `point`: the correction would be infinite.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2 or not np.isfinite(point):
        return None
    tolerance = 1e-12 * max(1.0, abs(point))
    below = (known < point - tolerance).mean() + (np.abs(known - point) <= tolerance).mean() / 2
    if not 0 < below < 1:
        return None
    bias = stats.norm.ppf(below)
    influence = jackknife[~np.isnan(jackknife)]
    influence = influence.mean() - influence if len(influence) else np.zeros(1)
    scale = (influence**2).sum() ** 1.5
    acceleration = (influence**3).sum() / (6 * scale) if scale > 0 else 0.0
    ends = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = stats.norm.cdf(bias + ends / (1 - acceleration * ends))
    return _quantiles(values, float(low), float(high))


def _quantiles(values: np.ndarray, low: float, high: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return None
    ends = np.quantile(known, [low, high])
    return Interval(float(ends[0]), float(ends[1]), 1 - len(known) / len(values))
