"""ROC curves: a thin line a seed, their vertical average thick with its band, and the operating point of validation."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.evaluation import curves, replicates
from attn_jax.evaluation.decision_curve import pointwise_interval
from attn_jax.evaluation.intervals import LEVEL
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import REPLICATES
from attn_jax.report.arms import Arm, Comparison
from attn_jax.report.contents import Contents
from attn_jax.report.figures.drawing import Figure, canvas, finish, legend_below
from attn_jax.report.figures.palette import FAINT, Look
from attn_jax.report.figures.rows import drawn as unit
from attn_jax.report.figures.rows import percent
from attn_jax.report.numbers import plural, spread

POINTS = 201
GRID = np.linspace(0.0, 1.0, POINTS)
MOST_THIN_LINES = 40


def mean_curve(predictions: Predictions) -> Float[np.ndarray, "201"] | None:
    """True positive rates at the false positive rates `GRID`: of several classes or findings, the vertical average.

    None where the test part has no question with both answers.
    """
    found = list(curves.roc(predictions).values())
    return curves.mean_roc(found, POINTS).mean if found else None


def curves_of(arm: Arm, contents: Contents) -> list[tuple[str, Float[np.ndarray, "201"]]]:
    """The curves of an arm's cells that have one, by key."""
    found = [(key, mean_curve(contents.predictions[key])) for key in arm.keys if key in contents.predictions]
    return [(key, c) for key, c in found if c is not None]


def band(panel: Panel, model: str, *, count: int = REPLICATES, seed: int = 0) -> Float[np.ndarray, "2 201"]:
    """Lower and upper ends of the pointwise interval of a model's average curve over its seeds, from replicates of the
    panel's patients; NaN where none has a curve.

    Of several classes or findings, those count that have both answers among the panel's images; a replicate in which
    one of these has lost an answer is left out.
    """
    drawings = replicates.draws(np.random.default_rng(seed), panel.cluster, count)
    runs = panel.runs[model].values()
    found = [np.mean([_heights(run.test, run.seen(of)) for run in runs], axis=0) for _, of in drawings]
    return pointwise_interval(np.concatenate(found), LEVEL)


def _heights(test: Predictions, weights: np.ndarray) -> np.ndarray:
    rows = [~np.isnan(of) for of in test.label.T] if test.kind == "multilabel" else [slice(None)] * len(test.classes)
    asked = [
        (known, truth, score)
        for known, (truth, score) in zip(rows, test.outcomes().values(), strict=False)
        if truth.any() and not truth.all()
    ]
    if not asked:
        return np.full((len(weights), POINTS), np.nan)
    return np.mean([curves.replicate_roc(t, s, weights[:, known], POINTS) for known, t, s in asked], axis=0)


def operating_points(arm: Arm) -> tuple[float | None, float | None]:
    """Mean false and true positive rate at the thresholds chosen on validation."""
    specificity, sensitivity = arm.metric("specificity").mean, arm.metric("sensitivity").mean
    return (None if specificity is None else 1 - specificity), sensitivity


def figure(
    comparison: Comparison, contents: Contents, look: dict[str, Look], name: str, panel: Panel | None = None
) -> Figure | None:
    """All arms in one pair of axes; those that a figure cannot hold stay grey.

    With a `panel`, whose models are called as the arms, the baseline and the best other arm have a band.
    """
    lines_of = {arm.label: found for arm in comparison.arms if (found := curves_of(arm, contents))}
    if not lines_of:
        return None
    first = contents.predictions[next(iter(lines_of.values()))[0][0]]
    single_question = first.binary
    thin = sum(map(len, lines_of.values())) <= MOST_THIN_LINES
    bands = {} if panel is None else {label: band(panel, label) for label in _banded(comparison, panel)}
    with canvas(4.4, 4.4 + 0.1 * len(comparison.shown)) as (sheet, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)))
        for label, (low, high) in bands.items():
            axes.fill_between(GRID, low, high, color=look[label].colour, alpha=0.15, linewidth=0, zorder=1)
        handles = []
        for arm in sorted(comparison.arms, key=lambda a: not look[a.label].faint):
            style = look[arm.label]
            lines = [c for _, c in lines_of.get(arm.label, [])]
            if not lines:
                continue
            if thin and not style.faint:
                for line in lines:
                    axes.plot(GRID, line, color=style.colour, linewidth=0.7, alpha=0.35)
            width = 0.8 if style.faint else 2.0
            mean = np.mean(lines, axis=0)
            label = f"{arm.label}  {spread(arm.metric('auc').mean, arm.metric('auc').sd)}"
            (drawn,) = axes.plot(GRID, mean, color=style.colour, linestyle=style.dash, linewidth=width, label=label)
            if style.faint:
                continue
            handles.append(drawn)
            alarm, hit = operating_points(arm)
            if single_question and alarm is not None and hit is not None:
                axes.plot([alarm], [hit], style.marker, color=style.colour, markersize=7, markeredgecolor="white")
                drawn.set_marker(style.marker)
                drawn.set_markevery([])
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="False positive rate (1 \u2212 specificity)", ylabel="True positive rate (sensitivity)")
        legend_below(sheet, handles)
        return finish(
            sheet,
            name,
            "ROC curves",
            _caption(comparison, single_question, thin, first.kind, _band_text(panel, list(bands))),
            _data(comparison, lines_of, bands),
            alternative=_alternative(comparison),
            simulated=comparison.simulated,
            wide=True,
        )


def _banded(comparison: Comparison, panel: Panel) -> list[str]:
    """The best baseline arm and the best other one, of those that the panel has."""
    able = [arm for arm in comparison.ranked if arm.label in panel.runs]
    sides = [[arm.label for arm in able if comparison.is_baseline(arm) == baseline] for baseline in (True, False)]
    return [labels[0] for labels in sides if labels]


def _band_text(panel: Panel | None, labels: list[str]) -> str:
    if panel is None or not labels:
        return ""
    over = unit(False, panel.patients)
    return (
        f"Shaded: pointwise {percent(LEVEL)} percentile interval of the thick line of {' and '.join(labels)}, from the"
        f" bootstrap over {over} ({REPLICATES} replicates)."
    )


def _caption(comparison: Comparison, single_question: bool, thin: bool, kind: str, bands: str) -> str:
    parts = [f"Thick lines are vertical averages over {comparison.repeats}s"]
    parts[0] += ", thin lines single ones." if thin else "."
    parts += [bands] if bands else []
    if single_question:
        parts.append("Markers: mean operating point at the thresholds of the leaderboard.")
    else:
        over = "findings" if kind == "multilabel" else "classes, each against the rest"
        parts.append(f"Averaged over {over}.")
    hidden = len(comparison.arms) - len(comparison.shown)
    parts += [f"Grey: {plural(hidden, 'further arm')}, named in the CSV."] if hidden else []
    return " ".join([*parts, "The legend gives AUC, mean ± sd."])


def _alternative(comparison: Comparison) -> str:
    said = [f"{a.label} {spread(a.metric('auc').mean, a.metric('auc').sd)}" for a in comparison.shown]
    return f"ROC curves on {comparison.dataset}; AUC: {', '.join(said)}."


def _data(comparison: Comparison, lines_of: dict[str, list], bands: dict[str, np.ndarray]) -> pd.DataFrame:
    frames = []
    for arm in comparison.arms:
        for key, line in lines_of.get(arm.label, []):
            points = {"false_positive_rate": GRID, "true_positive_rate": line}
            if bands:
                points |= dict(zip(("low", "high"), bands.get(arm.label, (np.nan, np.nan)), strict=True))
            frames.append(pd.DataFrame({"arm": arm.label, "key": key, **points}))
    return pd.concat(frames, ignore_index=True)
