"""Reliability diagrams: how often what a model says with some probability comes true, in small multiples."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.evaluation.calibration import BINS, reliability, reliability_bands
from attn_jax.evaluation.evidence import OnDataset, Settings, ranked
from attn_jax.evaluation.intervals import LEVEL
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.proportions import wilson
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.trust import of_finding
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import FAINT, Look
from attn_jax.report.figures.rows import percent, shortened
from attn_jax.report.numbers import fixed

POINTS = 10
MOST_PANELS = 4


class Diagram(NamedTuple):
    """Per bin: images (each counted once, however many seeds judged it), mean score, frequency with its bar, and the
    band of a calibrated model over the scores `consistent_score`; NaN in an empty bin."""

    images: Float[np.ndarray, "bins"]
    score: Float[np.ndarray, "bins"]
    frequency: Float[np.ndarray, "bins"]
    low: Float[np.ndarray, "bins"]
    high: Float[np.ndarray, "bins"]
    consistent_score: Float[np.ndarray, "bins"]
    consistent_low: Float[np.ndarray, "bins"]
    consistent_high: Float[np.ndarray, "bins"]


def figure(
    panel: Panel, found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> Figure | None:
    """The baseline and the best of the other models, at most `MOST_PANELS`; of findings, several an image, the baseline
    and the best other model for each of the commonest. None where no finding has images of both kinds."""
    others = [model for model in ranked(found.models, settings.metric) if model != found.baseline]
    shown = [model for model in (found.baseline, *others) if not look[model].faint][:MOST_PANELS]
    single = panel.first.kind == "single"
    findings = [""] if single else commonest(panel)[:MOST_PANELS]
    asked = {finding: of_one(panel, finding, shown[:2]) if finding else panel for finding in findings}
    diagrams = {
        (finding, model): diagram(one, model)
        for finding, one in asked.items()
        for model in (shown if single else shown[:2])
    }
    if not diagrams:
        return None
    across = min(2, len(shown))
    down = -(-len(diagrams) // across)
    of = next(iter(panel.first.outcomes())) if panel.first.binary else "" if single else "the finding"
    with canvas(2.5 * across, 2.75 * down, nrows=down, ncols=across, squeeze=False) as (sheet, grid):
        for axes, ((finding, model), drawn) in zip(grid.flat, diagrams.items(), strict=False):
            title = f"{finding}, {model}" if finding else model
            _panel(axes, drawn, title, _numbers(found, model, finding), look[model])
        for axes in grid.flat[len(diagrams) :]:
            axes.set_visible(False)
        sheet.supxlabel(f"Predicted probability of {of}" if of else "Highest probability", fontsize=9)
        sheet.supylabel(f"Share that was {of}" if of else "Accuracy", fontsize=9)
        return finish(
            sheet,
            name,
            "Calibration",
            _caption(panel),
            _data(diagrams),
            alternative=_alternative(found, diagrams),
            simulated=simulated,
            wide=True,
        )


def commonest(panel: Panel) -> list[str]:
    """The findings that some images have and others do not, first that of the most images."""
    positives, negatives = ((panel.label == answer).sum(axis=0) for answer in (1, 0))
    order = np.argsort(-positives, kind="stable")
    return [panel.first.classes[k] for k in order if positives[k] and negatives[k]]


def of_one(panel: Panel, finding: str, models: Sequence[str]) -> Panel:
    """Some models of the panel with one finding alone, as two classes."""
    k = panel.first.classes.index(finding)
    runs = {model: {name: of_finding(run, k) for name, run in panel.runs[model].items()} for model in models}
    return dataclasses.replace(panel, runs=runs)


def diagram(panel: Panel, model: str) -> Diagram:
    """The scores of all seeds in `POINTS` bins of equal mass, with bars and bands as wide as the images make
    them: these do not become more when several seeds judge them."""
    runs = list(panel.runs[model].values())
    truth, score = map(np.concatenate, zip(*(_asked(run.test) for run in runs), strict=True))
    judged = len(np.unique(np.concatenate([run.seen(np.arange(len(panel.image_id))) for run in runs])))
    times = len(score) / judged
    points = reliability(truth, score, POINTS, equal_mass=True)
    images = points.images / times
    # Every n-th of the sorted scores: their distribution, but as many as there are images.
    thinned = np.sort(score)[((np.arange(judged) + 0.5) * times).astype(int)]
    unknown = np.zeros(len(thinned), bool)
    at = reliability(unknown, thinned, POINTS, equal_mass=True).score
    bands = reliability_bands(unknown, thinned, POINTS, equal_mass=True, level=LEVEL)
    low, high = wilson(points.frequency, images, LEVEL)
    return Diagram(images, points.score, points.frequency, low, high, at, bands.consistent_low, bands.consistent_high)


def _asked(test: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The positive of two classes and its score; of more classes, whether the likeliest was right, and its score."""
    if test.binary:
        return next(iter(test.outcomes().values()))
    return test.label == test.score.argmax(axis=1), test.score.max(axis=1)


def _panel(axes, of: Diagram, model: str, numbers: str, style: Look) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    some = ~np.isnan(of.consistent_score)
    axes.fill_between(
        of.consistent_score[some],
        of.consistent_low[some],
        of.consistent_high[some],
        color=FAINT,
        alpha=0.22,
        linewidth=0,
        zorder=0,
    )
    spread = np.stack([of.frequency - of.low, of.high - of.frequency])
    axes.errorbar(
        of.score,
        of.frequency,
        yerr=np.maximum(spread, 0),
        color=style.colour,
        marker=style.marker,
        markersize=6,
        markeredgecolor="white",
        elinewidth=1.1,
        linewidth=0.8,
        zorder=3,
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axes.set(xticks=ticks, yticks=ticks)
    axes.set_title(shortened(model, 30), pad=15, fontsize=8.5)
    axes.annotate(numbers, (0, 1), (0, 4), "axes fraction", "offset points", fontsize=8)


def _numbers(found: OnDataset, model: str, finding: str) -> str:
    judged = found.models[model]
    error = "" if finding else f"ECE {fixed(judged.metrics['ece'].value)}"
    slope = (judged.trust.findings[finding] if finding else judged.trust).numbers.get("calibration_slope")
    return ", ".join(filter(None, [error, "" if slope is None or math.isnan(slope) else f"slope {fixed(slope, 2)}"]))


def _caption(panel: Panel) -> str:
    several = max(len(runs) for runs in panel.runs.values()) > 1
    pooled = " of all seeds together" if several else ""
    once = ", each image counted once" if several else ""
    several_findings = panel.first.kind != "single"
    which = "the scores" if panel.first.binary or several_findings else "the highest probabilities"
    error = "" if several_findings else f"ECE ({BINS} bins of equal width)"
    slope = "calibration slope (ideal: 1)" if panel.first.binary or several_findings else ""
    titles = " and ".join(filter(None, [error, slope]))
    means = ": means over seeds" if several else ""
    alone = panel.patients not in (None, len(panel.image_id))
    return (
        f"Points: {which}{pooled} in {POINTS} bins of equally many. Bars: Wilson's {percent(LEVEL)} interval{once}"
        f"{'; images of one patient are taken for independent' if alone else ''}. Grey: where {percent(LEVEL)} of a"
        f" calibrated model's points lie. Titles: {titles}{means}."
    )


def _alternative(found: OnDataset, shown: Iterable[tuple[str, str]]) -> str:
    where = f" on {found.dataset}" if found.dataset else ""
    told = [f"{finding} {model} {_numbers(found, model, finding)}".strip() for finding, model in shown]
    return f"Reliability diagrams{where}: {'; '.join(told)}."


def _data(diagrams: Mapping[tuple[str, str], Diagram]) -> pd.DataFrame:
    frames = []
    for (finding, model), of in diagrams.items():
        names = {"finding": finding} if finding else {}
        frames.append(pd.DataFrame(names | {"model": model, "bin": np.arange(POINTS) + 1, **of._asdict()}))
    return pd.concat(frames, ignore_index=True)
