"""A forest of differences: each model less the baseline, with its interval, single seeds, and the margin around 0."""

import math
from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.comparing import Contest, Effect
from attn_jax.evaluation.evidence import OnDataset, Settings
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.shown import of_difference
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import FAINT, INK, Look
from attn_jax.report.figures.rows import beside, drawn, frame, percent, rows, within
from attn_jax.report.numbers import metric_title, plural


def figure(
    found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> Figure | None:
    """One row a model, the best first; None where no model has a difference to the baseline."""
    metric = settings.metric
    lower = metric in LOWER_IS_BETTER
    contests = {of.first: of for of in sorted(found.contests, key=lambda of: _place(of.effects[metric], lower))}
    shown = [first for first, of in contests.items() if of.effects[metric].value is not None or not look[first].faint]
    if all(of.effects[metric].value is None for of in contests.values()):
        return None
    title = metric_title(metric)
    lying = rows(shown, look)
    with canvas(5.4, 0.95 + 0.36 * lying.height) as (sheet, axes):
        frame(axes, lying, look)
        axes.axvspan(-settings.margin, settings.margin, color=FAINT, alpha=0.16, linewidth=0, zorder=0)
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        for first in shown:
            _row(axes, lying.at[first], contests[first], metric, look[first])
        axes.margins(x=0.04)
        axes.locator_params(axis="x", nbins=6)
        left, right = ("better", "worse") if lower else ("worse", "better")
        axes.set_xlabel(f"\u2190 {left}     \u0394 {title}     {right} \u2192")
        return finish(
            sheet,
            name,
            f"Differences in {title} to {_baseline(found)}",
            _caption(found, settings, [of.effects[metric] for of in contests.values()], look),
            _data(contests, metric),
            alternative=_alternative(found, settings, contests, look),
            simulated=simulated,
            wide=True,
        )


def _place(effect: Effect, lower: bool) -> float:
    return math.inf if effect.value is None else effect.value if lower else -effect.value


def _baseline(found: OnDataset) -> str:
    names = {of.second for of in found.contests}
    return names.pop() if len(names) == 1 else "the baseline with all else equal"


def _kind(effect: Effect) -> str:
    return of_difference(effect)[0].removesuffix(" t")


def _interval(effect: Effect) -> Interval | None:
    return of_difference(effect)[1]


def _verdict(contest: Contest, metric: str) -> str:
    effect = contest.effects[metric]
    verdict = contest.equivalence.verdict if contest.equivalence else effect.reason
    return f"{verdict}, seeds unpaired" if effect.unpaired else verdict


def _row(axes, y: float, contest: Contest, metric: str, style: Look) -> None:
    effect = contest.effects[metric]
    if not style.faint:
        beside(axes, y, f"{within(effect.value, _interval(effect), sign=True)}\n{_verdict(contest, metric)}")
    if effect.value is None:
        return
    interval = _interval(effect)
    if interval is not None:
        width = 1.0 if style.faint else 2.2
        axes.plot(interval[:2], [y, y], color=style.colour, linewidth=width, solid_capstyle="butt", zorder=3)
    size = 3.5 if style.faint else 8
    axes.plot([effect.value], [y], style.marker, color=style.colour, markersize=size, markeredgecolor="white", zorder=4)
    if not style.faint and len(effect.seeds) > 1:
        axes.plot(effect.seeds, [y + 0.3] * len(effect.seeds), ".", color=style.colour, markersize=4, alpha=0.7)


def _caption(found: OnDataset, settings: Settings, effects: list[Effect], look: Mapping[str, Look]) -> str:
    several = {bool(of.spread and of.spread.seeds) for of in effects if of.value is not None}
    over = drawn(True in several, found.patients)
    parts = [f"Lines: {percent(settings.level)} t intervals over {over} ({settings.replicates} bootstrap"]
    parts[0] += (
        f" replicates; one seed: {drawn(False, found.patients)} alone)." if len(several) > 1 else " replicates)."
    )
    parts += ["Dots: single seeds."] if any(len(of.seeds) > 1 for of in effects) else []
    parts += ["Seeds unpaired: models without a common seed."] if any(of.unpaired for of in effects) else []
    parts.append(
        f"Band: differences within \u00b1{settings.margin:g}, the margin of the verdicts, which are adjusted by Holm."
    )
    hidden = sum(look[of.first].faint for of in found.contests)
    return " ".join([*parts, *([f"Grey: {plural(hidden, 'further model')}, named in the CSV."] if hidden else [])])


def _alternative(
    found: OnDataset, settings: Settings, contests: Mapping[str, Contest], look: Mapping[str, Look]
) -> str:
    said = []
    for first, of in contests.items():
        if not look[first].faint:
            effect = of.effects[settings.metric]
            numbers = within(effect.value, _interval(effect), sign=True)
            said.append(f"{first} {numbers}, {_verdict(of, settings.metric)}")
    where = f" on {found.dataset}" if found.dataset else ""
    return f"Differences in {metric_title(settings.metric)} to {_baseline(found)}{where}: {'; '.join(said)}."


def _data(contests: Mapping[str, Contest], metric: str) -> pd.DataFrame:
    lines = []
    for first, contest in contests.items():
        effect, verdict = contest.effects[metric], _verdict(contest, metric)
        low, high = (_interval(effect) or (None, None))[:2]
        lines.append((first, contest.second, "mean", effect.value, low, high, _kind(effect), verdict))
        seeds = effect.seeds if len(effect.seeds) > 1 else ()
        lines += [(first, contest.second, "seed", value, None, None, "", "") for value in seeds]
    columns = ["model", "baseline", "of", f"delta_{metric}", "low", "high", "drawn", "verdict"]
    return pd.DataFrame(lines, columns=columns)
