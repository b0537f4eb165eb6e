"""Temperature scaling of stored probabilities: On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 9.

Differs from the paper: the logits are recovered from probabilities, which gives them up to a constant that a softmax
does not see; a finding of a multi-label model has a temperature of its own, as two classes.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from attn_jax.evaluation.records import Predictions

# The smallest normal number of float32: what a network's softmax gives as 0 is below it.
TINY = float(np.finfo(np.float32).tiny)
# A finding's 1 - p cannot be so small; where p is 1, half the distance to the next smaller number stands for it.
TINY_REST = 2.0**-54
RANGE = (0.01, 100.0)
ALL_CLASSES = "all classes"


class Fit(NamedTuple):
    """A temperature (above 1: the model was overconfident), or None and the reason."""

    temperature: float | None
    reason: str = ""


class Scaled(NamedTuple):
    """Predictions after scaling; temperatures, and the reasons of undefined ones, by finding or `"all classes"`."""

    predictions: Predictions
    temperatures: dict[str, float | None]
    reasons: dict[str, str]


def fit_classes(probability: Float[np.ndarray, "n K"], label: Int[np.ndarray, "n"]) -> Fit:
    """The temperature in 0.01 .. 100 with the smallest log loss; probabilities below 1.2e-38 count as that.

    None where there is no such temperature: no image; every image decided rightly (the sharper the better); images
    decided no better than by chance (the flatter the better); or a best one out of range.
    """
    return _fit(_log_classes(probability), label)


def fit_finding(score: Float[np.ndarray, "n"], truth: Bool[np.ndarray, "n"]) -> Fit:
    """As `fit_classes`, for one yes-or-no question; 1 - score below 2**-54 counts as that."""
    return _fit(_log_finding(score), truth.astype(np.int64))


def scale_classes(probability: Float[np.ndarray, "n K"], temperature: float) -> Float[np.ndarray, "n K"]:
    """softmax(log p / T), with p clipped at 1.2e-38. Keeps each image's order of classes, so the decision.

    Of two classes whose scores sum to 1 it also keeps the order of images: no two change places. Scores may become
    equal where rounding leaves no difference, and equal ones differ where the other class's scores do (1 beside 1e-20
    and 1e-30).
    """
    return softmax(_log_classes(probability) / temperature, axis=1)


def scale_finding(score: Float[np.ndarray, "n"], temperature: float) -> Float[np.ndarray, "n"]:
    """sigmoid(logit(p) / T), with p clipped at 1.2e-38 and 1 - p at 2**-54. Keeps the order of images."""
    no, yes = _log_finding(score).T
    return expit((yes - no) / temperature)


def scale(predictions: Predictions) -> Scaled:
    """Scales the scores of all images with what the validation images say; unchanged where that is nothing.

    Classes have one temperature, findings one each, from the images where they are known. Thresholds chosen before do
    not hold for scaled scores: choose them again.
    """
    validation = predictions.part("val")
    score = predictions.score.copy()
    if predictions.kind == "single":
        fits = {ALL_CLASSES: fit_classes(validation.score, validation.label)}
        temperature = fits[ALL_CLASSES].temperature
        if temperature is not None:
            score = scale_classes(score, temperature)
    else:
        fits = {name: fit_finding(s, truth) for name, (truth, s) in validation.outcomes().items()}
        for k, name in enumerate(predictions.classes):
            temperature = fits[name].temperature
            if temperature is not None:
                score[:, k] = scale_finding(score[:, k], temperature)
    temperatures = {name: fit.temperature for name, fit in fits.items()}
    reasons = {name: fit.reason for name, fit in fits.items() if fit.reason}
    return Scaled(dataclasses.replace(predictions, score=score), temperatures, reasons)


def _log_classes(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability.astype(np.float64), TINY))


def _log_finding(score: np.ndarray) -> np.ndarray:
    score = score.astype(np.float64)
    return np.stack([np.log(np.maximum(1 - score, TINY_REST)), np.log(np.maximum(score, TINY))], axis=1)


def _fit(logits: np.ndarray, label: np.ndarray) -> Fit:
    if not len(label):
        return Fit(None, "no validation image")
    own = logits[np.arange(len(label)), label]
    # The loss is convex in 1 / T: its slope at 0, and whether it ever rises, tell if it has a minimum.
    if np.mean(logits.mean(axis=1) - own) >= -1e-12:
        return Fit(None, "the validation images are decided no better than by chance")
    if (own >= logits.max(axis=1)).all():
        return Fit(None, "every validation image is decided rightly: no temperature is too low")

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - own / np.exp(log_temperature)))

    low, high = np.log(RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    if min(found.x - low, high - found.x) < 1e-4:
        return Fit(None, f"the best temperature is not in {RANGE[0]:g} .. {RANGE[1]:g}")
    return Fit(float(np.exp(found.x)))
