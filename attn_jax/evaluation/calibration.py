"""Whether probabilities mean what they say."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.signal import fftconvolve
from scipy.special import expit, logit
from scipy.stats import binomtest

BINS = 15

# Probabilities are kept this far from 0 and 1 before their logit is taken; the log loss of `metrics` clips there, too.
CLIP = float(np.finfo(np.float64).eps)
# Newton's method takes some 10 steps; where the classes hardly overlap, more.
_STEPS = 200
_CONVERGED = 1e-10


class Reliability(NamedTuple):
    """Per bin: how many images fell in, their mean, and the share of them that came true (NaN in an empty bin)."""

    images: Int[np.ndarray, "bins"]
    score: Float[np.ndarray, "bins"]
    frequency: Float[np.ndarray, "bins"]


class Bands(NamedTuple):
    """Per bin, from low to high: the frequencies that a calibrated model would show there, and Wilson's interval of the
    frequency that was seen (NaN in an empty bin)."""

    consistent_low: Float[np.ndarray, "bins"]
    consistent_high: Float[np.ndarray, "bins"]
    wilson_low: Float[np.ndarray, "bins"]
    wilson_high: Float[np.ndarray, "bins"]


class Estimate(NamedTuple):
    """A maximum likelihood estimate and its standard error."""

    value: float
    se: float


class Recalibration(NamedTuple):
    """How the logit of a score would have to be moved and stretched; ideal are 0, 0 and 1.

    What is undefined is None, and `reasons` says why by name.
    """

    in_the_large: Estimate | None
    intercept: Estimate | None
    slope: Estimate | None
    reasons: dict[str, str]


def reliability(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], bins: int = BINS, *, equal_mass: bool = False
) -> Reliability:
    """Sorts scores into `bins` of equal width over [0, 1], each open below and closed above; 0 is in the first.

    With `equal_mass` the bins hold equally many images instead (Nixon et al., arXiv 1904.01685). The same score is
    always in one bin, that of the middle of its ranks: with many ties bins differ in size, and some are empty.
    """
    at = _bin_of(score, bins, equal_mass)
    count = np.bincount(at, minlength=bins)
    divisor = np.where(count == 0, np.nan, count)
    sums = [np.bincount(at, weights=values.astype(np.float64), minlength=bins) for values in (score, truth)]
    return Reliability(count, sums[0] / divisor, sums[1] / divisor)


def reliability_bands(
    truth: Bool[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    bins: int = BINS,
    *,
    equal_mass: bool = False,
    level: float = 0.95,
) -> Bands:
    """What to draw around a reliability diagram, in the bins of `reliability`; pointwise, not simultaneous.

    The consistency band (Broecker & Smith 2007, doi 10.1175/WAF993.1) holds the bin's frequency with probability
    `level` or more when each image comes true with its score: central quantiles of the Poisson-binomial distribution,
    exact. The paper resamples the scores, too; here they are given. Wilson's interval treats the bin's images as
    draws with one common probability.
    """
    at = _bin_of(score, bins, equal_mass)
    bands = np.full((4, bins), np.nan)
    for b in np.unique(at):
        inside = at == b
        images = int(inside.sum())
        bands[:2, b] = _central(score[inside].astype(np.float64), level)
        bands[2:, b] = binomtest(int(truth[inside].sum()), images).proportion_ci(level, method="wilson")
    return Bands(*bands)


def expected_calibration_error(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], bins: int = BINS, *, equal_mass: bool = False
) -> float | None:
    """Mean gap between score and frequency over the bins, weighted by count (Guo et al., arXiv 1706.04599, eq. 3).

    What is binned is the caller's choice: the probability of the positive for a yes-or-no question; for more classes
    the highest probability, with `truth` telling whether that class was right. None without scores.
    """
    if not len(score):
        return None
    found = reliability(truth, score, bins, equal_mass=equal_mass)
    filled = found.images > 0
    return float(np.average(_gaps(found), weights=found.images[filled]))


def maximum_calibration_error(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], bins: int = BINS, *, equal_mass: bool = False
) -> float | None:
    """Largest gap between score and frequency in any bin (Guo et al., arXiv 1706.04599, eq. 5); None without scores.

    A bin of one image counts like any other: with few images this is mostly noise.
    """
    return float(_gaps(reliability(truth, score, bins, equal_mass=equal_mass)).max()) if len(score) else None


def classwise_calibration_error(
    label: Int[np.ndarray, "n"], score: Float[np.ndarray, "n K"], bins: int = BINS, *, equal_mass: bool = False
) -> float | None:
    """Mean over the K classes of the ECE of each against the rest (Kull et al., arXiv 1910.12656); None without scores.

    A class without an image counts, too: its frequency is 0.
    """
    if not len(score):
        return None
    classes = range(score.shape[1])
    errors = [expected_calibration_error(label == k, score[:, k], bins, equal_mass=equal_mass) for k in classes]
    return float(np.mean(errors))  # type: ignore[arg-type]


def recalibration(truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"]) -> Recalibration:
    """Calibration-in-the-large, and calibration intercept and slope (Cox 1958, doi 10.1093/biomet/45.3-4.562; Van
    Calster et al. 2019, doi 10.1186/s12916-019-1466-7), by maximum likelihood.

    With L the logit of the score: `in_the_large` is a in logit P(truth) = a + L (below 0 where scores are too high on
    average), `intercept` and `slope` are a and b in logit P(truth) = a + b L (b below 1 where they are too extreme).
    Scores are clipped to [2.2e-16, 1 - 2.2e-16]; many scores of 0 or 1 make the slope depend on that.
    """
    names = ("in_the_large", "intercept", "slope")
    if not len(truth) or truth.all() or not truth.any():
        lack = ("negative " if truth.any() else "positive ") if len(truth) else ""
        return Recalibration(None, None, None, dict.fromkeys(names, f"no {lack}image"))
    x = logit(np.clip(score.astype(np.float64), CLIP, 1 - CLIP))
    in_the_large = _shift(x, truth)
    reason = _no_slope(x, truth)
    line = None if reason else _line(x, truth)
    if line is None:
        undefined = dict.fromkeys(names[1:], reason or "the fit did not converge")
        return Recalibration(in_the_large, None, None, undefined)
    return Recalibration(in_the_large, *line, {})


def _bin_of(score: np.ndarray, bins: int, equal_mass: bool) -> np.ndarray:
    if not equal_mass:
        edges = np.linspace(0, 1, bins + 1)
        return np.clip(np.searchsorted(edges, score, side="left") - 1, 0, bins - 1)
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    # In whole numbers, so that no image changes its bin by rounding.
    return ((2 * before + count) * bins // (2 * len(score)))[group]


def _gaps(found: Reliability) -> np.ndarray:
    return np.abs(found.score - found.frequency)[found.images > 0]


def _central(probability: np.ndarray, level: float) -> tuple[float, float]:
    """Central quantiles of the share of events that happen. SciPy's `poisson_binom` stops at some 60 events."""
    factors = np.stack([1 - probability, probability], axis=1)
    while len(factors) > 1:
        if len(factors) % 2:
            factors = np.concatenate([factors, np.eye(1, factors.shape[1])])
        factors = fftconvolve(factors[::2], factors[1::2], axes=1)
    below = np.cumsum(np.maximum(factors[0], 0))
    tail = (1 - level) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail])
    return low / len(probability), high / len(probability)


def _shift(x: np.ndarray, truth: np.ndarray) -> Estimate:
    reach = np.log(len(x)) + 1  # so far out, fewer than one event is expected, or all but one
    value = float(brentq(lambda a: expit(a + x).sum() - truth.sum(), -x.max() - reach, -x.min() + reach, xtol=1e-12))
    information = (expit(value + x) * expit(-value - x)).sum()
    return Estimate(value, float(1 / np.sqrt(information)))


def _no_slope(x: np.ndarray, truth: np.ndarray) -> str:
    """Why there is no finite slope, else nothing."""
    if x.std() < 1e-9:
        return "all scores are equal"
    if x[~truth].max() <= x[truth].min() or x[truth].max() <= x[~truth].min():
        return "the score separates the classes perfectly: the slope is infinite"
    return ""


def _line(x: np.ndarray, truth: np.ndarray) -> tuple[Estimate, Estimate] | None:
    """Intercept and slope by Newton's method, each step halved until the likelihood does not fall."""
    mean, sd = x.mean(), x.std()
    design = np.stack([np.ones(len(x)), (x - mean) / sd], axis=1)

    def loss(beta: np.ndarray) -> float:
        line = design @ beta
        return float(np.sum(np.logaddexp(0, line) - truth * line))

    beta = np.array([logit(truth.mean()), 0])
    for _ in range(_STEPS):
        happens = expit(design @ beta)
        information = (design.T * (happens * (1 - happens))) @ design
        step = np.linalg.solve(information, design.T @ (truth - happens))
        limit = loss(beta) * (1 + 1e-12)
        while loss(beta + step) > limit:
            step /= 2
        beta = beta + step
        if np.abs(step).max() <= _CONVERGED * (1 + np.abs(beta).max()):
            back = np.array([[1, -mean / sd], [0, 1 / sd]])
            values, variances = back @ beta, np.diag(back @ np.linalg.inv(information) @ back.T)
            first, second = (Estimate(float(v), float(np.sqrt(s))) for v, s in zip(values, variances, strict=True))
            return first, second
    return None
