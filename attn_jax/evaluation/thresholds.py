"""Where a score becomes a decision: chosen on validation images, never on test images."""

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import roc_curve

from attn_jax.evaluation.records import Predictions

FALLBACK = 0.5


def youden(truth: Bool[np.ndarray, "n"], score: Float[np.ndarray, "n"]) -> float | None:
    """The score t for which `score >= t` has the largest sensitivity + specificity; of equals the highest.

    None where it is undefined: one class only, or nothing at all.
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    false_rate, true_rate, limits = roc_curve(truth, score, drop_intermediate=False)
    # In whole counts, so that ties are ties; the first limit (infinite: nobody is positive) is no score.
    gain = np.rint(true_rate * positives) * negatives - np.rint(false_rate * negatives) * positives
    return float(limits[1:][gain[1:].argmax()])


def choose(validation: Predictions) -> tuple[dict[str, float], dict[str, str]]:
    """Youden's threshold of the positive class, or of each finding; none for more classes, which are decided by argmax.

    Returns:
        `(thresholds, reasons)`: 0.5 stands where there is no threshold to choose, and `reasons` says why by name.
    """
    if validation.kind == "single" and not validation.binary:
        return {}, {}
    thresholds, reasons = {}, {}
    for name, (truth, score) in validation.outcomes().items():
        chosen = youden(truth, score)
        if chosen is None:
            lack = ("negative " if truth.any() else "positive ") if len(truth) else ""
            reasons[name] = f"no {lack}validation image: {FALLBACK} was used"
        thresholds[name] = FALLBACK if chosen is None else chosen
    return thresholds, reasons
