"""ROC curves, of one model and averaged over several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from sklearn import metrics as sk

from attn_jax.evaluation.records import Predictions


class Curve(NamedTuple):
    """Points in order of x, and the score from which on an image counts as positive (infinite: none does)."""

    x: Float[np.ndarray, "points"]
    y: Float[np.ndarray, "points"]
    threshold: Float[np.ndarray, "points"]


class MeanCurve(NamedTuple):
    """Mean and standard deviation (n - 1; None of one curve) of several curves at common x."""

    x: Float[np.ndarray, "points"]
    mean: Float[np.ndarray, "points"]
    sd: Float[np.ndarray, "points"] | None


def roc(predictions: Predictions) -> dict[str, Curve]:
    """False against true positive rate of the test images, by class or finding; those without both kinds are left out.

    Two classes have one curve, the positive's.
    """
    outcomes = predictions.part("test").outcomes()
    return {name: Curve(*sk.roc_curve(t, s)) for name, (t, s) in outcomes.items() if t.any() and not t.all()}


def mean_roc(curves: Sequence[Curve], points: int = 101) -> MeanCurve:
    """ROC curves averaged vertically: mean true positive rate at each of `points` false positive rates.

    Where a curve rises straight up, its upper end counts, but for rate 0, where every curve starts from 0.
    """
    grid = np.linspace(0, 1, points)
    heights = np.stack([np.interp(grid, curve.x, curve.y) for curve in curves])
    heights[:, 0] = 0
    return MeanCurve(grid, heights.mean(axis=0), heights.std(axis=0, ddof=1) if len(curves) > 1 else None)


def replicate_roc(
    truth: Bool[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    weights: Real[np.ndarray, "R n"],
    points: int = 101,
) -> Float[np.ndarray, "R points"]:
    """The true positive rates of `mean_roc` under each row of `weights`: how often each image counts (a bootstrap's).

    NaN where only one kind of image counts.
    """
    if not len(truth):
        return np.full((len(weights), points), np.nan)
    order = np.argsort(-score, kind="stable")
    # Images of equal scores are one step of the curve.
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    ordered = weights[:, order]
    hits, alarms = (np.cumsum(ordered * kind[order], axis=1)[:, last] for kind in (truth, ~truth))
    grid, start = np.linspace(0, 1, points), np.zeros(1)
    heights = np.full((len(weights), points), np.nan)
    for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
        across, up = (np.append(start, of[row] / of[row, -1]) for of in (alarms, hits))
        heights[row] = np.interp(grid, across, up)
        heights[row, 0] = 0
    return heights
