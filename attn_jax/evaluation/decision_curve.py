"""Decision curve analysis: what a score is worth to those who weigh missed cases against false alarms.

Vickers & Elkin 2006, doi 10.1177/0272989X06295361. The threshold probability is the preference: who acts from t on
takes a missed case to be (1 - t) / t times as bad as a false alarm. Scores must be calibrated probabilities to be used
at such a threshold.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.sparse import csr_array

from attn_jax.errors import UserError

THRESHOLDS = np.arange(1, 100) / 100
# Differences of net benefit below this are rounding.
_ROUNDING = 1e-12


class DecisionCurve(NamedTuple):
    """Net benefit per image (in true positives) at each threshold; to treat none has 0 everywhere.

    `standardized` is the model's as a share of the largest possible, the prevalence (Kerr et al. 2016, doi
    10.1200/JCO.2015.65.5654; NaN without a positive image). `useful` lists the ranges `(lowest, highest)` of given
    thresholds at which the model beats both treating all and treating none.
    """

    threshold: Float[np.ndarray, "T"]
    model: Float[np.ndarray, "T"]
    treat_all: Float[np.ndarray, "T"]
    standardized: Float[np.ndarray, "T"]
    useful: tuple[tuple[float, float], ...]


class Replicates(NamedTuple):
    """The curves of `DecisionCurve` under R weightings of the images; NaN where these leave them undefined."""

    model: Float[np.ndarray, "R T"]
    treat_all: Float[np.ndarray, "R T"]
    standardized: Float[np.ndarray, "R T"]


def decision_curve(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], thresholds: Float[np.ndarray, "T"] = THRESHOLDS
) -> DecisionCurve | None:
    """TP / n - FP / n * t / (1 - t), with `score >= t` taken for positive; None without images.

    Raises:
        UserError: thresholds that do not ascend or are not in [0, 1).
    """
    if not len(truth):
        return None
    model, treat_all, standardized = (
        values[0] for values in replicate_curves(truth, score, np.ones((1, len(truth))), thresholds)
    )
    return DecisionCurve(
        thresholds, model, treat_all, standardized, ranges(thresholds, model - np.maximum(treat_all, 0) > _ROUNDING)
    )


def replicate_curves(
    truth: Bool[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    weights: Real[np.ndarray, "R n"],
    thresholds: Float[np.ndarray, "T"] = THRESHOLDS,
) -> Replicates:
    """The curves under each row of `weights`: how often each image counts (a bootstrap's), in any unit.

    Raises:
        UserError: thresholds that do not ascend or are not in [0, 1).
    """
    _check(thresholds)
    count, steps = len(truth), len(thresholds) + 1
    reached = np.searchsorted(thresholds, score, side="right")
    cells = csr_array((np.ones(count), (truth * steps + reached, np.arange(count))), shape=(2 * steps, count))
    sums = (cells @ weights.T).T.reshape(len(weights), 2, steps)
    taken = np.flip(np.cumsum(np.flip(sums[:, :, 1:], axis=2), axis=2), axis=2)
    everyone = sums.sum(axis=2, keepdims=True)
    total = everyone.sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    prevalence = everyone[:, 1] / total
    odds = thresholds / (1 - thresholds)
    model, treat_all = (found[:, 1] / total - found[:, 0] / total * odds for found in (taken, everyone))
    return Replicates(model, treat_all, model / np.where(prevalence > 0, prevalence, np.nan))


def pointwise_interval(replicates: Float[np.ndarray, "R T"], level: float = 0.95) -> Float[np.ndarray, "2 T"]:
    """Lower and upper percentile of a curve's replicates at each threshold; undefined replicates are left out.

    NaN where none is left. Pointwise: the curve as a whole leaves such a band more often than 1 - `level`.
    """
    defined = replicates[~np.isnan(replicates).any(axis=1)]
    if not len(defined):
        return np.full((2, replicates.shape[1]), np.nan)
    return np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], axis=0)


def _check(thresholds: np.ndarray) -> None:
    bad = thresholds[~((thresholds >= 0) & (thresholds < 1))]
    if len(bad):
        raise UserError(f"threshold probability {bad[0]:g} is not in [0, 1)")
    if (np.diff(thresholds) <= 0).any():
        raise UserError("threshold probabilities do not ascend; sort them and give each once")


def ranges(thresholds: np.ndarray, better: np.ndarray) -> tuple[tuple[float, float], ...]:
    """First and last threshold of each run of true values."""
    change = np.diff(np.concatenate([[False], better, [False]]).astype(np.int8))
    first, last = thresholds[np.flatnonzero(change == 1)], thresholds[np.flatnonzero(change == -1) - 1]
    return tuple(zip(first.tolist(), last.tolist(), strict=True))
