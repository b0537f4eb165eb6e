"""Whether a model's probabilities can be acted upon: calibration, what decisions by them gain, and when to abstain."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from attn_jax.evaluation import temperature
from attn_jax.evaluation.calibration import (
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    recalibration,
)
from attn_jax.evaluation.decision_curve import decision_curve
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.selective import (
    COVERAGES,
    accuracy_at_coverage,
    aurc,
    distance_to_threshold,
    excess_aurc,
    risk_coverage,
    top_probability,
)

FINDINGS = "for images of one class each"
TWO = "for two classes"


@dataclasses.dataclass(frozen=True)
class Trust:
    """Means over seeds; what no seed has is None, and `reasons` says why.

    `numbers` has `ece_equal_mass`, `ece_classwise`, `mce`; `calibration_in_the_large`, `calibration_intercept` and
    `calibration_slope` (ideal: 0, 0, 1); `temperature`, fitted on validation images, and `ece` and `log_loss` of the
    test images `_after_temperature`; `aurc`, `excess_aurc` and `accuracy_at_<coverage>`, of the surest share of images.
    `useful` holds the ranges of threshold probabilities in which acting by the scores beats acting on all and on none,
    of each seed.
    """

    numbers: Mapping[str, float | None]
    reasons: Mapping[str, str]
    useful: Mapping[str, tuple[tuple[float, float], ...]]


def trust(panel: Panel, model: str) -> Trust:
    """What the runs of a model are worth beyond their ranking; of findings (several an image) nothing."""
    runs = panel.runs[model]
    if panel.first.kind != "single":
        return Trust({}, {"calibration": FINDINGS}, {})
    found: dict[str, list[float | None]] = {}
    reasons: dict[str, str] = {}
    for run in runs.values():
        for name, value in [*_calibration(run, reasons), *_temperature(run, reasons), *_selective(run)]:
            found.setdefault(name, []).append(value)
    useful = {}
    if panel.first.binary:
        for seed, run in runs.items():
            curve = decision_curve(run.test.label == run.test.positive, run.test.score[:, run.test.positive])
            useful[seed] = curve.useful if curve else ()
    numbers = {name: _mean(values) for name, values in found.items()}
    return Trust(numbers, {name: why for name, why in reasons.items() if numbers.get(name) is None}, useful)


def _calibration(run: Run, reasons: dict[str, str]) -> Iterable[tuple[str, float | None]]:
    test = run.test
    right, top = test.label == test.score.argmax(axis=1), test.score.max(axis=1)
    truth, score = (test.label == test.positive, test.score[:, test.positive]) if test.binary else (right, top)
    yield "ece_equal_mass", expected_calibration_error(truth, score, equal_mass=True)
    yield "ece_classwise", classwise_calibration_error(test.label, test.score)
    yield "mce", maximum_calibration_error(truth, score)
    names = ("calibration_in_the_large", "calibration_intercept", "calibration_slope")
    if not test.binary:
        reasons.update(dict.fromkeys(names, TWO))
        yield from ((name, None) for name in names)
        return
    fit = recalibration(truth, score)
    for name, of in zip(names, ("in_the_large", "intercept", "slope"), strict=True):
        estimate = getattr(fit, of)
        if estimate is None:
            reasons[name] = fit.reasons[of]
        yield name, estimate.value if estimate else None


def _temperature(run: Run, reasons: dict[str, str]) -> Iterable[tuple[str, float | None]]:
    fit = temperature.fit_classes(run.validation.score, run.validation.label)
    yield "temperature", fit.temperature
    if fit.temperature is None:
        reasons |= dict.fromkeys(("temperature", "ece_after_temperature", "log_loss_after_temperature"), fit.reason)
        yield from ((name, None) for name in ("ece_after_temperature", "log_loss_after_temperature"))
        return
    test = run.test
    scaled = temperature.scale_classes(test.score, fit.temperature)
    if test.binary:
        truth, score = test.label == test.positive, scaled[:, test.positive]
    else:
        truth, score = test.label == scaled.argmax(axis=1), scaled.max(axis=1)
    yield "ece_after_temperature", expected_calibration_error(truth, score)
    own = np.maximum(scaled[np.arange(len(test)), test.label], np.finfo(np.float64).eps)
    yield "log_loss_after_temperature", float(-np.log(own).mean())


def _selective(run: Run) -> Iterable[tuple[str, float | None]]:
    test = run.test
    error = test.decisions(run.thresholds) != test.label
    if test.positive is not None:
        limit = run.thresholds.get(test.classes[test.positive], 0.5)
        confidence = distance_to_threshold(test.score[:, test.positive], limit)
    else:
        confidence = top_probability(test.score)
    yield "aurc", aurc(error, confidence)
    yield "excess_aurc", excess_aurc(error, confidence)
    curve = risk_coverage(error, confidence)
    if curve is not None:
        for coverage, accuracy in zip(COVERAGES, accuracy_at_coverage(curve), strict=True):
            yield f"accuracy_at_{round(100 * coverage)}", float(accuracy)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
