"""The standard error of a mean over seeds, from its variance over seeds and over patients, and the one inference from
it: interval, p and the verdict's tests all come from the same t statistic, so that they cannot contradict.

For a metric d_s of k seeds, or its difference between two models, d_s = theta_s + P + Q_s: what seed s would reach on
all patients, noise of these patients that all seeds share, and noise of these patients that is the seed's own. The mean
has variance (Var theta + Var Q) / k + Var P, of which the first term is the observed variance over seeds over k (A).
Var P (B) is the bootstrap variance over patients of the mean, seeds as they are, less Var Q / k, which it holds, too.
Drawing seeds and patients together would count Var Q twice (Owen 2007, doi 10.1214/07-AOAS122).

A has k - 1 degrees of freedom, B nearly as many as patients. The critical value of the sum is Cochran and Cox's
(Experimental Designs, 1957, section 4.14): the mean of both t quantiles, weighted by A and B. Satterthwaite's (1946)
degrees of freedom find 12 % instead of 5 % with two seeds, as A is small by chance just where it matters; this finds
2 to 6 % with two to ten seeds, whatever they spread (docs/coverage.md).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special
from scipy.optimize import brentq

from attn_jax.evaluation.intervals import LEVEL, Interval


class Part(NamedTuple):
    """A variance, and the degrees of freedom with which it is known."""

    variance: float
    df: int


class StandardError(NamedTuple):
    """Variances that add up: over the seeds of each model (one entry where seeds are paired; none: one seed, or seeds
    taken as they are), and over patients; `undefined` is the share of replicates that had to be left out."""

    seeds: tuple[Part, ...]
    patients: Part
    undefined: float = 0.0

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them."""
        return (*self.seeds, self.patients)

    @property
    def total(self) -> float:
        """The standard error."""
        return float(np.sqrt(sum(part.variance for part in self.parts)))

    def critical(self, tail: float) -> float:
        """What estimate / error exceeds with the chance `tail`, between 0 and 1/2, where nothing is there."""
        weight = sum(part.variance for part in self.parts)
        return float(sum(part.variance * -special.stdtrit(part.df, tail) for part in self.parts) / weight)

    def tail(self, statistic: float) -> float:
        """The chance of an estimate / error above `statistic`: the inverse of `critical`."""
        size = abs(statistic)
        own = [float(special.stdtr(part.df, -size)) for part in self.parts if part.variance > 0]
        low, high = (max(tail, _LEAST_TAIL) for tail in (min(own), max(own)))
        if high - low > 1e-12 * high and self.critical(low) > size:
            # Between them may lie a hundred powers of ten.
            low = float(np.exp(brentq(lambda log: self.critical(np.exp(log)) - size, np.log(low), np.log(high))))
        return low if statistic >= 0 else 1 - low

    def p(self, value: float) -> float | None:
        """Two-sided, of no difference; without any spread 1 for a value of 0, and else None."""
        if self.total < _NONE:
            return 1.0 if abs(value) < _NONE else None
        return min(1.0, 2 * self.tail(abs(value) / self.total))

    def interval(
        self, value: float, level: float = LEVEL, limits: tuple[float, float] = (-np.inf, np.inf)
    ) -> Interval | None:
        """The values that a test at 1 - `level` would not reject, within `limits`; None without any spread."""
        if self.total < _NONE:
            return None
        reach = self.critical((1 - level) / 2) * self.total
        return Interval(max(value - reach, limits[0]), min(value + reach, limits[1]), self.undefined)

    def within(self, value: float, limits: tuple[float, float], level: float = LEVEL) -> Interval | None:
        """The interval on the logit scale between two `limits`, or above the lower of them on the logarithmic one.

        There a bounded number's sampling is nearer to normal, and no end lies outside (average precision: Boyd, Eng,
        Page 2013, doi 10.1007/978-3-642-40994-3_29; AUC: Pepe 2003). None without any spread, and of a value that is a
        limit.
        """
        low, high = limits
        if self.total < _NONE or not low < value < high:
            return None
        bounded = np.isfinite(high)
        share = (value - low) / (high - low) if bounded else value - low
        reach = self.critical((1 - level) / 2) * self.total / (share * (1 - share) * (high - low) if bounded else share)
        middle = special.logit(share) if bounded else np.log(share)
        back = special.expit if bounded else np.exp
        ends = [low + (high - low if bounded else 1.0) * float(back(middle + side * reach)) for side in (-1, 1)]
        return Interval(ends[0], ends[1], self.undefined)


_NONE = 1e-12
_LEAST_TAIL = 1e-150
"""Smaller ones are not told apart: SciPy's quantiles of t go wrong far beyond it."""


def over_patients(drawn: Float[np.ndarray, "seeds replicates"], sizes: tuple[int, ...], patients: int) -> Part | None:
    """The variance over patients of the sum of the groups' means, seeds as they are.

    Args:
        drawn: values in replicates that draw patients only, the same ones for all seeds.
        sizes: how many of the seeds each group has, in order.
        patients: how many there are.

    Returns:
        None where fewer than two replicates are defined, or of one patient.
    """
    known = drawn[:, ~np.isnan(drawn).any(axis=0)]
    if known.shape[1] < 2 or patients < 2:
        return None
    mean = np.sum([group.mean(axis=0) for group in _groups(known, sizes)], axis=0)
    # A replicate of n patients varies by (n - 1) / n of what they do.
    return Part(float(mean.var(ddof=1)) * patients / (patients - 1), patients - 1)


def over_both(
    point: Float[np.ndarray, "seeds"],
    drawn: Float[np.ndarray, "seeds replicates"],
    sizes: tuple[int, ...],
    patients: int,
) -> StandardError | None:
    """The variances over seeds and over patients; arguments as of `over_patients`, and the values themselves.

    Returns:
        None also where a group has one seed: how far another would lie is not known.
    """
    whole = over_patients(drawn, sizes, patients)
    if whole is None or min(sizes) < 2:
        return None
    known = drawn[:, ~np.isnan(drawn).any(axis=0)]
    seeds, own = [], 0.0
    for size, values, group in zip(sizes, _groups(point, sizes), _groups(known, sizes), strict=True):
        seeds.append(Part(float(values.var(ddof=1)) / size, size - 1))
        centred = group - group.mean(axis=1, keepdims=True)
        own += float(centred.var(axis=0, ddof=1).mean()) / size * patients / (patients - 1)
    left = Part(max(0.0, whole.variance - own), whole.df)
    return StandardError(tuple(seeds), left, 1 - known.shape[1] / drawn.shape[1])


def _groups(values: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(sizes)[:-1])
