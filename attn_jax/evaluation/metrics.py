"""What predictions are worth: every number from the test images, decisions at thresholds from the validation images."""

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from sklearn import metrics as sk

from attn_jax.evaluation.calibration import expected_calibration_error
from attn_jax.evaluation.records import Predictions, Result
from attn_jax.evaluation.thresholds import choose

METRICS = (
    "auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "mcc",
    "kappa",
    "brier",
    "log_loss",
    "ece",
)
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
Values = dict[str, float | None]

# What must be among the labels for a metric to exist; the others need an image, no more.
_NEEDS_BOTH = ("auc", "average_precision", "balanced_accuracy", "mcc", "kappa")
_NEEDS_POSITIVE = ("sensitivity", "f1")
_NEEDS_NEGATIVE = ("specificity",)
# What more than two classes have as a mean over each class against the rest; the others see all classes at once.
_MACRO = ("auc", "average_precision", "sensitivity", "specificity", "f1")


def evaluate(predictions: Predictions, *, ordinal: bool = False) -> Result:
    """Judges one model's predictions.

    Two classes: everything is about the positive one, decided by Youden's threshold on the validation images (0.5, and
    said so in `undefined["threshold"]`, where these are missing or of one class). More classes: decided by the highest
    score; AUC, average precision, sensitivity (so balanced accuracy), specificity and F1 are means over each class
    against the rest, undefined when a class is missing; accuracy, MCC, kappa, Brier (summed over classes), log loss
    and ECE (of the highest score) see all classes. Findings: each with its own threshold on the images where it is
    known, and every metric is the mean over the findings that have it.

    Equal to scikit-learn where it has the metric and the metric is defined. MCC is 0 when all decisions are the same,
    but undefined when all labels are. A score of 0 for what happened costs -log(2.2e-16) in log loss.

    Args:
        predictions: validation and test images of one model.
        ordinal: the classes have an order, and kappa has quadratic weights.
    """
    thresholds, reasons = choose(predictions.part("val"))
    test = predictions.part("test")
    undefined = _threshold_reasons(reasons, single=predictions.binary)
    per_class: dict[str, Values] = {}
    for name, truth, score, taken in _questions(test, thresholds):
        per_class[name], why = yes_or_no(truth, score, taken)
        undefined |= why if predictions.binary else {f"{metric}/{name}": reason for metric, reason in why.items()}
    if predictions.binary:
        (metrics,) = (dict(values) for values in per_class.values())
    elif predictions.kind == "multilabel":
        metrics, why = _mean_of_known(per_class)
        undefined |= why
    else:
        metrics, why = _all_classes(test, per_class, ordinal)
        undefined |= why
    return Result(metrics, undefined, thresholds, per_class, _confusion(test, thresholds), len(test), _digest(test))


def yes_or_no(
    truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"], taken: Bool[np.ndarray, "n"]
) -> tuple[Values, dict[str, str]]:
    """All metrics of one yes-or-no question: `taken` is the decision. Returns `(values, reasons of undefined ones)`."""
    positive, negative = bool(truth.any()), bool((~truth).any())
    if not positive and not negative:
        return dict.fromkeys(METRICS), dict.fromkeys(METRICS, "no test image")
    y = truth.astype(int)
    values: Values = dict.fromkeys(METRICS)
    values["accuracy"] = float(np.mean(truth == taken))
    values["brier"] = float(np.mean((score - y) ** 2))
    values["log_loss"] = float(sk.log_loss(y, score, labels=[0, 1]))
    values["ece"] = expected_calibration_error(truth, score)
    if positive:
        values["sensitivity"] = float(np.mean(taken[truth]))
        values["f1"] = float(sk.f1_score(y, taken))
    if negative:
        values["specificity"] = float(np.mean(~taken[~truth]))
    if positive and negative:
        values["auc"] = float(sk.roc_auc_score(y, score))
        values["average_precision"] = float(sk.average_precision_score(y, score))
        values["balanced_accuracy"] = (values["sensitivity"] + values["specificity"]) / 2  # type: ignore[operator]
        values["mcc"] = float(sk.matthews_corrcoef(y, taken))
        values["kappa"] = float(sk.cohen_kappa_score(y, taken))
    lack = "no negative test image" if positive else "no positive test image"
    needed = _NEEDS_BOTH + (_NEEDS_NEGATIVE if positive else _NEEDS_POSITIVE)
    return values, {} if positive and negative else dict.fromkeys(needed, lack)


def _questions(
    test: Predictions, thresholds: dict[str, float]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """`(class or finding, truth, score, decision)`, over the images where it is known."""
    decided = test.decisions(thresholds)
    for name, (truth, score) in test.outcomes().items():
        k = test.classes.index(name)
        taken = decided == k if test.kind == "single" else decided[~np.isnan(test.label[:, k]), k]
        yield name, truth, score, taken


def _all_classes(test: Predictions, per_class: dict[str, Values], ordinal: bool) -> tuple[Values, dict[str, str]]:
    if not len(test):
        return dict.fromkeys(METRICS), dict.fromkeys(METRICS, "no test image")
    score = test.score / test.score.sum(axis=1, keepdims=True)
    decided = score.argmax(axis=1)
    classes = range(len(test.classes))
    values: Values = dict.fromkeys(METRICS)
    values["accuracy"] = float(np.mean(test.label == decided))
    values["brier"] = float(np.mean(((score - np.eye(len(classes))[test.label]) ** 2).sum(axis=1)))
    values["log_loss"] = float(sk.log_loss(test.label, score, labels=list(classes)))
    values["ece"] = expected_calibration_error(test.label == decided, score.max(axis=1))
    undefined = {}
    absent = [name for k, name in enumerate(test.classes) if not (test.label == k).any()]
    if absent:
        undefined = dict.fromkeys((*_MACRO, "balanced_accuracy"), f"no test image of class {', '.join(absent)}")
    else:
        values |= {metric: _mean([of[metric] for of in per_class.values()]) for metric in _MACRO}
        values["balanced_accuracy"] = values["sensitivity"]
    if len(absent) == len(classes) - 1:
        undefined |= dict.fromkeys(("mcc", "kappa"), "all test images are of one class")
    else:
        weights = "quadratic" if ordinal else None
        values["mcc"] = float(sk.matthews_corrcoef(test.label, decided))
        values["kappa"] = float(sk.cohen_kappa_score(test.label, decided, labels=list(classes), weights=weights))
    return values, undefined


def _mean_of_known(per_class: dict[str, Values]) -> tuple[Values, dict[str, str]]:
    values = {metric: _mean([of[metric] for of in per_class.values() if of[metric] is not None]) for metric in METRICS}
    return values, {metric: "undefined for every finding" for metric, value in values.items() if value is None}


def _mean(values: list[float | None]) -> float | None:
    return float(np.mean(values)) if values else None  # type: ignore[arg-type]


def _threshold_reasons(reasons: dict[str, str], single: bool) -> dict[str, str]:
    return {"threshold" if single else f"threshold/{name}": reason for name, reason in reasons.items()}


def _confusion(test: Predictions, thresholds: dict[str, float]) -> list[list[int]] | None:
    """Counts by true class (rows) and decided class (columns)."""
    if test.kind != "single":
        return None
    count = len(test.classes)
    pairs = test.label * count + test.decisions(thresholds)
    return np.bincount(pairs, minlength=count * count).reshape(count, count).tolist()


def _digest(test: Predictions) -> str:
    """A short digest of the test images' ids and labels, whatever their order; empty without test images."""
    if not len(test):
        return ""
    labels = np.array(test.classes)[test.label] if test.kind == "single" else test.label
    lines = sorted(f"{image_id}\t{label}" for image_id, label in zip(test.image_id, labels.tolist(), strict=True))
    return hashlib.sha256("\n".join([*test.classes, *lines]).encode()).hexdigest()[:12]
