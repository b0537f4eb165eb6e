"""A Bayesian comparison over data sets, or centres, that says whether a difference matters.

On data set i a metric differs by d_i, with standard error s_i. The normal hierarchical model (Gelman et al., Bayesian
Data Analysis, 3rd ed., section 5.4): d_i ~ N(theta_i, s_i^2) and theta_i ~ N(mu, tau^2), with a flat prior on mu and a
half-normal one on tau. mu is the mean true difference over data sets like these, tau how much the true differences
vary, theta_new the true difference on the next data set. Given tau all is normal (equations 5.17 to 5.21), so the
posterior is a mixture of normals over a grid of tau: no sampling, the same numbers every time, good to about 1e-8.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from attn_jax.errors import UserError

TAU_SCALE = 0.05
FEWEST_UNIFORM = 5
_TAILS = (0.025, 0.975)
# The grid is even in log tau: the trapezoid rule then converges faster than any power of the step.
_STEP = 0.01
_LOWEST, _HIGHEST, _HIGHEST_UNIFORM = 1e-10, 10.0, 1e10


class Summary(NamedTuple):
    """Posterior mean and standard deviation, and the limits of the central 95 % interval."""

    mean: float
    sd: float
    low: float
    high: float


class Rope(NamedTuple):
    """Posterior probabilities of lying left of, in and right of the region of practical equivalence; they sum to 1."""

    left: float
    inside: float
    right: float


class Posterior(NamedTuple):
    """What is known after the data; `theta` in the order of the data sets. None: `undefined` says why by field."""

    mu: Summary | None
    tau: Summary | None
    theta: tuple[Summary, ...] | None
    new: Summary | None
    mu_rope: Rope | None
    new_rope: Rope | None
    undefined: dict[str, str]


class _Mixture(NamedTuple):
    """Normals, one for each tau of the grid, and their weights, which sum to 1."""

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def posterior(
    difference: Float[np.ndarray, "datasets"],
    error: Float[np.ndarray, "datasets"],
    *,
    rope: float,
    tau_scale: float = TAU_SCALE,
) -> Posterior:
    """The posterior of mu, tau, each theta_i (shrunk towards mu) and theta_new, in the units of `difference`.

    One data set does not tell how much data sets vary: mu, tau and theta_new would repeat the prior, so they are None,
    and theta is N(d, s^2) whatever the prior. With two to four data sets the prior on tau still weighs heavily: show
    another scale beside it.

    Args:
        difference: d_i.
        error: s_i, the standard errors of `difference`, each above 0.
        rope: differences within [-rope, rope] do not matter in practice (Benavoli et al., arXiv 1606.04316, take 0.01).
        tau_scale: the half-normal prior's scale. 0.05 is for metrics between 0 and 1: true differences that vary by
            less than 0.05 have two thirds of the prior, by less than 0.1 95 %. Infinite: the uniform prior on tau of
            the book's example, which wants five data sets for finite standard deviations.

    Raises:
        UserError: `rope` is negative, or `tau_scale` not above 0.
        ValueError: arrays of different lengths.
    """
    if not rope >= 0:
        raise UserError(f"rope: {rope:g} is negative; give the largest difference that does not matter, such as 0.01")
    if not tau_scale > 0:
        raise UserError(f"tau_scale: {tau_scale:g} is not above 0; {TAU_SCALE:g} suits metrics between 0 and 1")
    d, s = np.asarray(difference, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if d.shape != s.shape:
        raise ValueError(f"{len(d)} differences and {len(s)} standard errors")
    reason = _reason(d, s, tau_scale)
    if reason is not None:
        names = tuple(name for name in Posterior._fields if name not in ("theta", "undefined"))
        theta = _alone(d, s) if len(d) < 2 and _usable(d, s).all() else None
        undefined = dict.fromkeys(names if theta is not None else (*names, "theta"), reason)
        return Posterior(None, None, theta, None, None, None, undefined)
    log_tau = _grid(d, s, tau_scale)
    tau = np.exp(log_tau)
    spread = s[:, None] ** 2 + tau**2
    variance = 1 / (1 / spread).sum(axis=0)
    center = variance * (d[:, None] / spread).sum(axis=0)
    log_density = 0.5 * np.log(variance) - 0.5 * (np.log(spread) + (d[:, None] - center) ** 2 / spread).sum(axis=0)
    log_density += log_tau - 0.5 * (tau / tau_scale) ** 2  # d tau = tau d(log tau)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mu = _Mixture(weight, center, np.sqrt(variance))
    new = _Mixture(weight, center, np.sqrt(variance + tau**2))
    pull = s[:, None] ** 2 / spread
    theta_mean = (1 - pull) * d[:, None] + pull * center
    theta_sd = s[:, None] * np.sqrt(tau**2 / spread + pull * variance / spread)
    theta = tuple(_summary(_Mixture(weight, mean, sd)) for mean, sd in zip(theta_mean, theta_sd, strict=True))
    of_tau = _tau_summary(log_tau, weight)
    return Posterior(_summary(mu), of_tau, theta, _summary(new), _rope(mu, rope), _rope(new, rope), {})


def _usable(d: np.ndarray, s: np.ndarray) -> np.ndarray:
    return np.isfinite(d) & np.isfinite(s) & (s > 0)


def _reason(d: np.ndarray, s: np.ndarray, tau_scale: float) -> str | None:
    bad = np.flatnonzero(~_usable(d, s))
    if len(bad):
        at = int(bad[0])
        return f"data set {at} has difference {d[at]:g} and standard error {s[at]:g}, which must be finite and above 0"
    if len(d) < 2:
        return f"{len(d)} data set{'' if len(d) else 's'}: how much data sets vary shows from 2 on"
    if math.isinf(tau_scale) and len(d) < FEWEST_UNIFORM:
        return f"{len(d)} data sets: a uniform prior on tau wants {FEWEST_UNIFORM} or more; give a finite tau_scale"
    return None


def _alone(d: np.ndarray, s: np.ndarray) -> tuple[Summary, ...]:
    half = float(ndtri(_TAILS[1]))
    return tuple(Summary(at, sd, at - half * sd, at + half * sd) for at, sd in zip(d.tolist(), s.tolist(), strict=True))


def _grid(d: np.ndarray, s: np.ndarray, tau_scale: float) -> np.ndarray:
    """log tau, from where there is no mass left below to where there is none above."""
    smallest, largest = float(s.min()), max(float(s.max()), float(np.ptp(d)))
    lowest = _LOWEST * min(smallest, tau_scale)
    highest = _HIGHEST_UNIFORM * largest if math.isinf(tau_scale) else _HIGHEST * max(largest, tau_scale)
    return np.arange(math.log(lowest), math.log(highest) + _STEP, _STEP)


def _summary(mixture: _Mixture) -> Summary:
    weight, mean, sd = mixture
    center = float(weight @ mean)
    spread = math.sqrt(weight @ (sd**2 + (mean - center) ** 2))
    # By Cantelli's inequality no distribution has its 2.5 % point further from its mean than sqrt(39) sd.
    ends = center - 7 * spread, center + 7 * spread
    low, high = (_root(lambda x, q=q: float(weight @ ndtr((x - mean) / sd)) - q, *ends) for q in _TAILS)
    return Summary(center, spread, low, high)


def _tau_summary(log_tau: np.ndarray, weight: np.ndarray) -> Summary:
    tau = np.exp(log_tau)
    center = float(weight @ tau)
    spread = math.sqrt(weight @ (tau - center) ** 2)
    below = CubicSpline(log_tau, weight / _STEP).antiderivative()
    low, high = (_root(lambda t, q=q: float(below(t)) - q, log_tau[0], log_tau[-1]) for q in _TAILS)
    return Summary(center, spread, math.exp(low), math.exp(high))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-12 * (high - low)))


def _rope(mixture: _Mixture, rope: float) -> Rope:
    weight, mean, sd = mixture
    left, right = (float(weight @ ndtr((-rope - sign * mean) / sd)) for sign in (1, -1))
    inside = float(weight @ (ndtr((rope - mean) / sd) - ndtr((-rope - mean) / sd)))
    return Rope(left, inside, right)
