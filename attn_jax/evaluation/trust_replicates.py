"""What `trust` measures under many weightings of the images at once: recalibration, temperature, abstention.

Maximum likelihood estimates are moved by one Newton step from the fit on all images (the one-step bootstrap of Moulton
and Zeger 1991, Computational Statistics & Data Analysis 11, 53), which costs a matrix product, not a fit a replicate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit, softmax

from attn_jax.evaluation import replicates
from attn_jax.evaluation.calibration import CLIP, Recalibration
from attn_jax.evaluation.replicates import Weights
from attn_jax.evaluation.selective import COVERAGES
from attn_jax.evaluation.temperature import TINY

Values = dict[str, Float[np.ndarray, "replicates"]]


class Replicated(NamedTuple):
    """A number in replicates, its values without one patient (none where these were not asked for), and how many
    patients there are."""

    drawn: Float[np.ndarray, "replicates"]
    without: Float[np.ndarray, "patients"]
    patients: int


class Recalibrated:
    """`calibration.recalibration` under weights, where it is defined on all images."""

    def __init__(self, truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], fit: Recalibration) -> None:
        x = logit(np.clip(score.astype(np.float64), CLIP, 1 - CLIP))
        self.fit, self.truth = fit, np.stack([truth, ~truth], axis=1).astype(np.float64)
        self.shift = _logistic(truth, fit.in_the_large.value + x) if fit.in_the_large else None
        self.line = None
        if fit.intercept and fit.slope:
            rest, spread = _logistic(truth, fit.intercept.value + fit.slope.value * x).T
            self.line = np.stack([rest, rest * x, spread, spread * x, spread * x**2], axis=1)

    def __call__(self, weights: Weights) -> Values:
        """NaN where only one kind of image was drawn."""
        both = np.asarray((weights @ self.truth > 0).all(axis=1))
        found: Values = {}
        if self.fit.in_the_large and self.shift is not None:
            rest, spread = (weights @ self.shift).T
            found["calibration_in_the_large"] = self.fit.in_the_large.value + _over(rest, spread, both)
        if self.fit.intercept and self.fit.slope and self.line is not None:
            rest, slant, one, x, square = (weights @ self.line).T
            whole = one * square - x**2
            found["calibration_intercept"] = self.fit.intercept.value + _over(square * rest - x * slant, whole, both)
            found["calibration_slope"] = self.fit.slope.value + _over(one * slant - x * rest, whole, both)
        return found


class Tempered:
    """The temperature of `temperature.fit_classes` under weights of the validation images."""

    def __init__(self, probability: Float[np.ndarray, "n K"], label: Int[np.ndarray, "n"], temperature: float) -> None:
        logits = np.log(np.maximum(probability.astype(np.float64), TINY))
        share = softmax(logits / temperature, axis=1)
        mean = (share * logits).sum(axis=1)
        rest = logits[np.arange(len(label)), label] - mean
        self.sums = np.stack([rest, (share * logits**2).sum(axis=1) - mean**2], axis=1)
        self.temperature = temperature

    def __call__(self, weights: Weights) -> Values:
        """NaN where no temperature above 0 is left."""
        rest, spread = (weights @ self.sums).T
        sharpness = 1 / self.temperature + _over(rest, spread, np.ones(len(weights), bool))
        return {"temperature": _over(np.ones(len(weights)), sharpness, sharpness > 0)}


class Kept:
    """`selective.accuracy_at_coverage` under weights; images of equal confidence are kept together."""

    def __init__(
        self,
        error: Bool[np.ndarray, "n"],
        confidence: Float[np.ndarray, "n"],
        coverages: Sequence[float] = COVERAGES,
    ) -> None:
        self.order = np.argsort(-confidence, kind="stable")
        self.first = np.flatnonzero(np.append(True, np.diff(confidence[self.order]) != 0))
        self.error, self.coverages = error[self.order].astype(np.float64), coverages

    def __call__(self, weights: Weights) -> Values:
        """`accuracy_at_<percent>`, NaN where no image was drawn."""
        drawn = weights[:, self.order]
        wrong = drawn * self.error
        if len(self.first) < len(self.order):
            drawn, wrong = (np.add.reduceat(of, self.first, axis=1) for of in (drawn, wrong))
        kept, lost = np.cumsum(drawn, axis=1), np.cumsum(wrong, axis=1)
        rows, total = np.arange(len(weights)), kept[:, -1]
        found = {}
        for coverage in self.coverages:
            wanted = coverage * total
            # The tie that the coverage cuts counts in part.
            at = np.minimum((kept < wanted[:, None]).sum(axis=1), kept.shape[1] - 1)
            part = _over(kept[rows, at] - wanted, drawn[rows, at], drawn[rows, at] > 0)
            risk = lost[rows, at] - np.nan_to_num(part) * wrong[rows, at]
            found[f"accuracy_at_{round(100 * coverage)}"] = 1 - _over(risk, wanted, wanted > 0)
        return found


def replicated(
    statistic: replicates.Statistic, cluster: np.ndarray, jackknife: bool, count: int, seed: int
) -> dict[str, Replicated]:
    """A statistic in `count` replicates of the clusters, and with `jackknife` without each of these."""
    left_out = list(replicates.left_out(cluster)) if jackknife else []
    drawn = replicates.judge(statistic, replicates.draws(np.random.default_rng(seed), cluster, count), count)
    without = replicates.judge(statistic, iter(left_out), left_out[-1][0].stop) if left_out else {}
    return {
        name: Replicated(values, without.get(name, np.zeros(0)), int(cluster.max()) + 1)
        for name, values in drawn.items()
    }


def _logistic(truth: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Of each image: what its truth lies above its expectation, and that expectation's variance."""
    expected = expit(line)
    return np.stack([truth - expected, expected * (1 - expected)], axis=1)


def _over(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=defined & (whole > 0))
