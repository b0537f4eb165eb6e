"""Metrics of many bootstrap replicates at once: every number is a sum over images, weighted by how often they came.

With all weights 1 they are those of `metrics.evaluate`.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from attn_jax.evaluation.calibration import BINS
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.replicates import Weights

Values = dict[str, Float[np.ndarray, "replicates"]]

RANKING = ("auc", "average_precision")
_MACRO = (*RANKING, "sensitivity", "specificity", "f1")
_TINY = np.finfo(np.float64).eps


class Ranking:
    """AUC and average precision of one score under weights. Images of equal scores are one step of either curve."""

    def __init__(self, truth: Bool[np.ndarray, "images"], score: Float[np.ndarray, "images"]) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.positive = truth[self.order].astype(np.float64)
        first = np.append(0, np.flatnonzero(np.diff(score[self.order])) + 1)
        self.first = None if len(first) == len(score) else first

    def __call__(self, weights: Weights) -> Values:
        """`auc` and `average_precision`, NaN where only one kind of image was drawn, or none."""
        if not len(self.order):
            return {metric: np.full(len(weights), np.nan) for metric in RANKING}
        drawn = weights[:, self.order]
        new_hits = drawn * self.positive
        if self.first is not None:
            drawn, new_hits = (np.add.reduceat(of, self.first, axis=1) for of in (drawn, new_hits))
        hits, below = np.cumsum(new_hits, axis=1), np.cumsum(drawn, axis=1)
        positives = hits[:, -1].copy()
        negatives = below[:, -1] - positives
        # Each miss lies below the hits before it, and beside half of those in its own step.
        area = np.einsum("rs,rs->r", drawn, hits) - np.einsum("rs,rs->r", new_hits, hits)
        if self.first is not None:
            area -= (np.einsum("rs,rs->r", drawn, new_hits) - np.einsum("rs,rs->r", new_hits, new_hits)) / 2
        precision = np.divide(hits, below, out=hits, where=below > 0)
        average = _ratio(np.einsum("rs,rs->r", new_hits, precision), positives)
        return {
            "auc": _ratio(area, positives * negatives),
            "average_precision": np.where(negatives > 0, average, np.nan),
        }


class Question:
    """All metrics of one yes-or-no question; `taken` is the decision about each image."""

    def __init__(
        self,
        truth: Bool[np.ndarray, "images"],
        score: Float[np.ndarray, "images"],
        taken: Bool[np.ndarray, "images"],
    ) -> None:
        self.ranking = Ranking(truth, score)
        right = np.clip(np.where(truth, score, 1 - score), _TINY, None)
        sums = [truth & taken, ~truth & taken, truth & ~taken, ~truth & ~taken, (score - truth) ** 2, -np.log(right)]
        self.sums = np.stack([np.asarray(column, np.float64) for column in sums], axis=1)
        self.error = CalibrationError(truth, score)

    def __call__(self, weights: Weights) -> Values:
        """Each metric of `metrics.METRICS`, NaN where it is undefined."""
        tp, fp, fn, tn, brier, loss = (weights @ self.sums).T
        count, positives, negatives = tp + fp + fn + tn, tp + fn, fp + tn
        sensitivity, specificity = _ratio(tp, positives), _ratio(tn, negatives)
        both = (positives > 0) & (negatives > 0)
        spread = positives * negatives * (tp + fp) * (tn + fn)
        chance = (tp + fp) * positives + (tn + fn) * negatives
        mcc = np.divide(tp * tn - fp * fn, np.sqrt(spread), out=np.zeros_like(tp), where=spread > 0)
        return {
            **self.ranking(weights),
            "accuracy": _ratio(tp + tn, count),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "f1": np.where(positives > 0, _ratio(2 * tp, 2 * tp + fp + fn), np.nan),
            "mcc": np.where(both, mcc, np.nan),
            "kappa": np.where(both, _ratio(count * (tp + tn) - chance, count**2 - chance), np.nan),
            "brier": _ratio(brier, count),
            "log_loss": _ratio(loss, count),
            "ece": self.error(weights),
        }


class CalibrationError:
    """The expected calibration error in bins of equal width, whose edges no replicate moves."""

    def __init__(self, truth: Bool[np.ndarray, "images"], score: Float[np.ndarray, "images"]) -> None:
        at = np.clip(np.searchsorted(np.linspace(0, 1, BINS + 1), score, side="left") - 1, 0, BINS - 1)
        self.gaps = np.zeros((len(score), BINS))
        self.gaps[np.arange(len(score)), at] = score - truth

    def __call__(self, weights: Weights) -> Float[np.ndarray, "replicates"]:
        """Its value in each replicate."""
        return _ratio(np.abs(weights @ self.gaps).sum(axis=1), weights.sum(axis=1))


class Judged:
    """The metrics of one model's test images under weights of these images, as `metrics.evaluate` defines them.

    `thresholds` are those that were chosen on validation images; they are not chosen anew in a replicate.
    """

    def __init__(self, test: Predictions, thresholds: Mapping[str, float], *, ordinal: bool = False) -> None:
        self.kind, self.binary, count = test.kind, test.binary, len(test.classes)
        decided = test.decisions(thresholds)
        self.questions: list[tuple[Int[np.ndarray, known] | slice, Question]] = []
        for name, (truth, score) in test.outcomes().items():
            k = test.classes.index(name)
            known = np.flatnonzero(~np.isnan(test.label[:, k])) if self.kind == "multilabel" else slice(None)
            taken = decided[known, k] if self.kind == "multilabel" else decided == k
            self.questions.append((known, Question(truth, score, taken)))
        if self.kind == "single" and not self.binary:
            self.classes = _Classes(test, ordinal=ordinal)
            assert count == len(self.questions)
        # Which findings have each metric on all images: a mean over others would be another number.
        self.findings: dict[str, list[int]] = {}
        if self.kind == "multilabel":
            whole = [question(np.ones((1, len(test.label[known])))) for known, question in self.questions]
            self.findings = {m: [k for k, of in enumerate(whole) if not np.isnan(of[m][0])] for m in whole[0]}

    def __call__(self, weights: Weights) -> Values:
        """Each metric of `metrics.METRICS`, NaN where it is undefined.

        The mean over findings is over those that have the metric on all images; a replicate in which one of these has
        lost it (no positive was drawn) is undefined.
        """
        each = [question(weights[:, known]) for known, question in self.questions]
        if self.kind == "multilabel":
            nothing = np.full(len(weights), np.nan)
            return {
                metric: np.mean([each[k][metric] for k in known], axis=0) if known else nothing
                for metric, known in self.findings.items()
            }
        if self.binary:
            return each[0]
        macro = {metric: np.mean([values[metric] for values in each], axis=0) for metric in _MACRO}
        # A class of which no image was drawn makes every mean over classes undefined.
        absent = np.isnan(macro["sensitivity"])
        macro = {metric: np.where(absent, np.nan, values) for metric, values in macro.items()}
        return {**macro, "balanced_accuracy": macro["sensitivity"], **self.classes(weights)}


class _Classes:
    """What sees more than two classes at once: accuracy, MCC, kappa, Brier, log loss and calibration error."""

    def __init__(self, test: Predictions, *, ordinal: bool) -> None:
        count = len(test.classes)
        score = test.score / test.score.sum(axis=1, keepdims=True)
        decided, at = score.argmax(axis=1), np.arange(len(test))
        loss = -np.log(np.clip(score[at, test.label], _TINY, None))
        brier = ((score - np.eye(count)[test.label]) ** 2).sum(axis=1)
        cells = np.zeros((len(test), count * count))
        cells[at, test.label * count + decided] = 1
        self.sums = np.concatenate([cells, brier[:, None], loss[:, None]], axis=1)
        self.count = count
        apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count))).astype(np.float64)
        self.penalty = apart**2 if ordinal else np.minimum(apart, 1)
        self.error = CalibrationError(test.label == decided, score.max(axis=1))

    def __call__(self, weights: Weights) -> Values:
        sums = weights @ self.sums
        table = sums[:, :-2].reshape(-1, self.count, self.count)
        total = table.sum(axis=(1, 2))
        label, taken = table.sum(axis=2), table.sum(axis=1)
        right = np.trace(table, axis1=1, axis2=2)
        spread = (total**2 - (label**2).sum(axis=1)) * (total**2 - (taken**2).sum(axis=1))
        covariance = right * total - (label * taken).sum(axis=1)
        mcc = np.divide(covariance, np.sqrt(np.maximum(spread, 0)), out=np.zeros_like(total), where=spread > 0)
        several = (label > 0).sum(axis=1) > 1
        disagreement = (table * self.penalty).sum(axis=(1, 2))
        by_chance = _ratio(np.einsum("ri,ij,rj->r", label, self.penalty, taken), total)
        return {
            "accuracy": _ratio(right, total),
            "mcc": np.where(several, mcc, np.nan),
            "kappa": np.where(several, 1 - _ratio(disagreement, by_chance), np.nan),
            "brier": _ratio(sums[:, -2], total),
            "log_loss": _ratio(sums[:, -1], total),
            "ece": self.error(weights),
        }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
