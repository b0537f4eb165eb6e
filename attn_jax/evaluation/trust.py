"""Whether a model's probabilities can be acted upon: calibration, what decisions by them gain, and when to abstain."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from attn_jax.evaluation import replicates, temperature
from attn_jax.evaluation.calibration import (
    Recalibration,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    recalibration,
)
from attn_jax.evaluation.decision_curve import THRESHOLDS, pointwise_interval, ranges, replicate_curves
from attn_jax.evaluation.intervals import LEVEL, Interval
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import Numbers, seeds
from attn_jax.evaluation.selective import (
    COVERAGES,
    accuracy_at_coverage,
    aurc,
    distance_to_threshold,
    excess_aurc,
    replicate_aurc,
    risk_coverage,
    top_probability,
)
from attn_jax.evaluation.trust_replicates import Kept, Recalibrated, Replicated, Tempered, replicated

REPLICATES = 400
_FOR_A_VARIANCE = 200
FINDINGS = "of each finding by itself"
TWO = "for two classes"
_RECALIBRATION = ("calibration_in_the_large", "calibration_intercept", "calibration_slope")
_SHARE = (0.0, 1.0)
_LIMITS = {"aurc": _SHARE, **{f"accuracy_at_{round(100 * c)}": _SHARE for c in COVERAGES}}


@dataclasses.dataclass(frozen=True)
class Trust:
    """Means over seeds; what some seed lacks is None, and `reasons` says why.

    `numbers` has `ece_equal_mass`, `ece_classwise`, `mce`; `calibration_in_the_large`, `calibration_intercept` and
    `calibration_slope` (ideal: 0, 0, 1); `temperature`, fitted on validation images, and `ece` and `log_loss` of the
    test images `_after_temperature`; `aurc`, `excess_aurc` and `accuracy_at_<coverage>`, of the surest share of images.

    `intervals` are over patients (of the temperature: over those of the validation images), and with several seeds
    also over these; None where replicates are undefined or all alike. Calibration errors have none (they are above 0 by
    chance, and in replicates twice), nor has what follows from a temperature.
    `useful` holds the ranges of threshold probabilities at which acting by the scores beats acting on all and on none:
    the lower end of the pointwise interval of the net benefit's gain, over patients, is above 0.
    `findings` has this of each finding where an image may have several.
    """

    numbers: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    reasons: Mapping[str, str]
    useful: tuple[tuple[float, float], ...]
    findings: Mapping[str, "Trust"] = dataclasses.field(default_factory=dict)


def trust(panel: Panel, model: str, *, level: float = LEVEL, count: int = REPLICATES, seed: int = 0) -> Trust:
    """What the runs of a model are worth beyond their ranking, with `count` replicates of the panel's patients."""
    runs, by_seed = panel.runs[model], seeds(panel, model)
    if panel.first.kind == "single":
        return _trust(panel, runs, by_seed, level, count, seed)
    places = range(len(panel.first.classes))
    each = [{name: of_finding(run, k) for name, run in runs.items()} for k in places]
    findings = {
        name: _trust(panel, own, by_seed, level, count, seed)
        for name, own in zip(panel.first.classes, each, strict=True)
        if all(len(run.test) for run in own.values())
    }
    return Trust({}, {}, {"calibration": FINDINGS}, (), findings)


def of_finding(run: Run, k: int) -> Run:
    """One finding as two classes, on the images where it is known."""
    name = run.test.classes[k]

    def known(of: Predictions) -> tuple[Predictions, np.ndarray]:
        rows = np.flatnonzero(~np.isnan(of.label[:, k]))
        score, group = of.score[rows, k], None if of.group is None else of.group[rows]
        pair = np.stack([1 - score, score], axis=1)
        label = of.label[rows, k].astype(np.int64)
        return Predictions(of.image_id[rows], label, pair, (f"no {name}", name), group=group), rows

    test, rows = known(run.test)
    validation, _ = known(run.validation)
    return Run(test, validation, run.thresholds, rows if run.rows is None else run.rows[rows])


def _trust(
    panel: Panel, runs: Mapping[str, Run], by_seed: Mapping[str, Sequence[str]], level: float, count: int, seed: int
) -> Trust:
    reasons: dict[str, str] = {}
    # Several seeds have a t interval, which needs no more than the replicates' variance.
    drawings = count if len(by_seed) == 1 else min(count, _FOR_A_VARIANCE)
    points: dict[str, dict[str, float | None]] = {}
    drawn: dict[str, dict[str, Replicated]] = {}
    for name, run in runs.items():
        fit = _fit(run, reasons)
        for metric, value in [*_calibration(run, fit), *_temperature(run, reasons), *_selective(run)]:
            points.setdefault(metric, {})[name] = value
        for metric, own in _drawn(
            panel, run, fit, points["temperature"][name], len(by_seed) == 1, drawings, seed
        ).items():
            drawn.setdefault(metric, {})[name] = own
    numbers = {metric: _mean([of[name] for name in runs]) for metric, of in points.items()}
    intervals = {}
    for metric, of in drawn.items():
        if numbers[metric] is not None and len(of) == len(runs):
            intervals[metric] = _interval(metric, points[metric], of, by_seed, level)
    two = all(run.test.binary for run in runs.values())
    useful = _useful(panel, list(runs.values()), level, count, seed) if two else ()
    why = {name: reason for name, reason in reasons.items() if numbers.get(name) is None}
    return Trust(numbers, intervals, why, useful)


def _fit(run: Run, reasons: dict[str, str]) -> Recalibration | None:
    test = run.test
    if not test.binary:
        reasons.update(dict.fromkeys(_RECALIBRATION, TWO))
        return None
    fit = recalibration(test.label == test.positive, test.score[:, test.positive])
    reasons.update({f"calibration_{name}": why for name, why in fit.reasons.items()})
    return fit


def _calibration(run: Run, fit: Recalibration | None) -> Iterable[tuple[str, float | None]]:
    test = run.test
    right, top = test.label == test.score.argmax(axis=1), test.score.max(axis=1)
    truth, score = (test.label == test.positive, test.score[:, test.positive]) if test.binary else (right, top)
    yield "ece_equal_mass", expected_calibration_error(truth, score, equal_mass=True)
    yield "ece_classwise", classwise_calibration_error(test.label, test.score)
    yield "mce", maximum_calibration_error(truth, score)
    for name in _RECALIBRATION:
        estimate = getattr(fit, name.removeprefix("calibration_")) if fit else None
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


def doubts(run: Run) -> tuple[Bool[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Whether each decision of a run is wrong, and how sure it was."""
    test = run.test
    error = test.decisions(run.thresholds) != test.label
    if test.positive is None:
        return error, top_probability(test.score)
    limit = run.thresholds.get(test.classes[test.positive], 0.5)
    return error, distance_to_threshold(test.score[:, test.positive], limit)


def _selective(run: Run) -> Iterable[tuple[str, float | None]]:
    error, confidence = doubts(run)
    yield "aurc", aurc(error, confidence)
    yield "excess_aurc", excess_aurc(error, confidence)
    curve = risk_coverage(error, confidence)
    if curve is not None:
        for coverage, accuracy in zip(COVERAGES, accuracy_at_coverage(curve), strict=True):
            yield f"accuracy_at_{round(100 * coverage)}", float(accuracy)


def _drawn(
    panel: Panel, run: Run, fit: Recalibration | None, fitted: float | None, jackknife: bool, count: int, seed: int
) -> dict[str, Replicated]:
    """Of each metric its replicates over patients, of the temperature over those of the validation images."""
    test, (error, confidence) = run.test, doubts(run)
    parts: list[replicates.Statistic] = [Kept(error, confidence)]
    if fit is not None:
        parts.append(Recalibrated(test.label == test.positive, test.score[:, test.positive], fit))

    def judged(weights: np.ndarray) -> dict[str, np.ndarray]:
        own = run.seen(weights)
        found = {"aurc": replicate_aurc(error, confidence, own)}
        return {name: values for part in parts for name, values in part(own).items()} | found

    found = replicated(judged, panel.cluster, jackknife, count, seed)
    if fitted is not None:
        validation = run.validation
        cluster = replicates.clusters(validation.group, len(validation))
        found |= replicated(Tempered(validation.score, validation.label, fitted), cluster, jackknife, count, seed)
    return found


def _interval(
    metric: str,
    points: Mapping[str, float | None],
    drawn: Mapping[str, Replicated],
    by_seed: Mapping[str, Sequence[str]],
    level: float,
) -> Interval | None:
    point = np.array([np.mean([points[run] for run in runs]) for runs in by_seed.values()])  # type: ignore[arg-type]
    patients = min(of.patients for of in drawn.values())
    if len(point) == 1:
        values = np.mean([of.drawn for of in drawn.values()], axis=0)[None]
        without = np.mean([of.without for of in drawn.values()], axis=0)[None]
        found = Numbers(tuple(by_seed), point, values, without, patients, (1,)).by_bootstrap("bca", level)
        return found if found is not None and found.high > found.low else None
    values = np.stack([np.mean([drawn[run].drawn for run in runs], axis=0) for runs in by_seed.values()])
    none = np.zeros((len(point), 0))
    # Temperatures divide: on their logarithms no interval reaches 0.
    ratio = metric == "temperature"
    if ratio:
        point, values = np.log(point), np.log(values)
    error = Numbers(tuple(by_seed), point, values, none, patients, (len(point),)).of_all_seeds()
    found = error.interval(float(point.mean()), level, _LIMITS.get(metric, (-np.inf, np.inf))) if error else None
    return found._replace(low=np.exp(found.low), high=np.exp(found.high)) if found and ratio else found


def _useful(panel: Panel, runs: Sequence[Run], level: float, count: int, seed: int) -> tuple[tuple[float, float], ...]:
    def gain(weights: np.ndarray) -> np.ndarray:
        curves = [
            replicate_curves(
                run.test.label == run.test.positive, run.test.score[:, run.test.positive], run.seen(weights)
            )
            for run in runs
        ]
        return np.mean([of.model - np.maximum(of.treat_all, 0) for of in curves], axis=0)

    draws = replicates.draws(np.random.default_rng(seed), panel.cluster, count)
    low, _ = pointwise_interval(np.concatenate([gain(weights) for _, weights in draws]), level)
    return ranges(THRESHOLDS, low > 0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
