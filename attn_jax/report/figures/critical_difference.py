"""A critical-difference diagram: average ranks over data sets, with bars over models that Nemenyi's test does not part.

Demsar, JMLR 7:1-30 (2006), figure 1.
"""

from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.across import Across
from attn_jax.evaluation.evidence import Settings
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import FAINT, INK, Look
from attn_jax.report.figures.rows import wrapped
from attn_jax.report.numbers import fixed, metric_title, p_value, plural

# Inches: between two names, between two bars, and from the axis to the top.
_ROW, _TWO_LINES, _BAR, _ABOVE = 0.2, 0.28, 0.09, 0.5


def figure(found: Across, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool) -> Figure | None:
    """The best to the right; None where there are too few data sets or models for a critical difference."""
    test, ranks = found.comparison.nemenyi, dict(zip(found.models, found.comparison.ranks.tolist(), strict=True))
    if test.critical_difference is None or test.groups is None:
        return None
    bars = levels([(ranks[found.models[of[0]]], ranks[found.models[of[-1]]]) for of in test.groups])
    depth = 0.1 + _BAR * (1 + max((level for _, _, level in bars), default=-1)) + 0.12
    order = sorted(ranks, key=lambda model: ranks[model])
    named = [model for model in order if not look[model].faint]
    right = named[: -(-len(named) // 2)]
    left = named[len(right) :][::-1]
    step = _TWO_LINES if any("\n" in wrapped(model) for model in named) else _ROW
    height = _ABOVE + depth + step * len(right) - step / 3
    with canvas(5.4, height + 0.1) as (sheet, axes):
        _scale(axes, len(ranks), test.critical_difference)
        for model in order:
            if look[model].faint:
                axes.plot([ranks[model]] * 2, [0, 0.07], color=FAINT, linewidth=1)
        for models, side in ((left, -1), (right, 1)):
            for place, model in enumerate(models):
                _elbow(axes, ranks[model], depth + step * place, side, len(ranks), model, look[model])
        for best, worst, level in bars:
            reach = 0.02 * (len(ranks) - 1)
            across = {"color": INK, "linewidth": 3.5, "solid_capstyle": "butt", "zorder": 5}
            axes.plot([best - reach, worst + reach], [0.1 + _BAR * (level + 0.5)] * 2, **across)
        axes.set(xlim=(len(ranks), 1), ylim=(height - _ABOVE, -_ABOVE))
        axes.axis("off")
        return finish(
            sheet,
            name,
            f"Average ranks in {metric_title(settings.metric)} over {len(found.datasets)} data sets",
            _caption(found, settings, len(order) - len(named)),
            _data(found, order, ranks),
            alternative=_alternative(found, settings, {model: ranks[model] for model in named}),
            simulated=simulated,
            wide=True,
        )


def levels(spans: list[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Each bar with the first line on which it touches none before it."""
    placed: list[tuple[float, float, int]] = []
    for low, high in spans:
        taken = {level for first, last, level in placed if first <= high and low <= last}
        placed.append((low, high, next(level for level in range(len(spans)) if level not in taken)))
    return placed


def _scale(axes, models: int, critical: float) -> None:
    axes.plot([1, models], [0, 0], color=INK, linewidth=1)
    step = -(-(models - 1) // 10)
    for rank in range(1, models + 1, step):
        axes.plot([rank, rank], [-0.05, 0], color=INK, linewidth=1)
        axes.annotate(f"{rank}", (rank, -0.08), ha="center", va="bottom", fontsize=8, annotation_clip=False)
    axes.plot([models - critical, models], [-0.36, -0.36], color=INK, linewidth=1)
    for end in (models - critical, models):
        axes.plot([end, end], [-0.4, -0.32], color=INK, linewidth=1)
    axes.annotate(
        f"critical difference {critical:.2f}",
        (models - critical, -0.36),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        annotation_clip=False,
    )


def _elbow(axes, rank: float, y: float, side: int, models: int, model: str, style: Look) -> None:
    """From the axis down to the name's line and out to the name; `side` is 1 for the right."""
    edge = 1 if side > 0 else models
    axes.plot([rank, rank, edge], [0, y, y], color=style.colour, linewidth=1.2, clip_on=False)
    axes.plot([rank], [0], style.marker, color=style.colour, markersize=6, markeredgecolor="white", clip_on=False)
    for text, away in ((f"{rank:.2f}", 5), (wrapped(model), 32)):
        axes.annotate(
            text,
            (edge, y),
            (away * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )


def _caption(found: Across, settings: Settings, hidden: int) -> str:
    friedman = found.comparison.friedman
    text = (
        f"Rank 1 is the best. Bars join models whose average ranks do not differ by Nemenyi's test at"
        f" {1 - settings.level:g} over all {len(found.models)} models; Friedman's test (Iman and Davenport's F):"
        f" p {p_value(friedman.f_p)}. Ranks say nothing of the size of a difference."
    )
    return f"{text} Grey ticks: {plural(hidden, 'further model')}, named in the CSV." if hidden else text


def _alternative(found: Across, settings: Settings, ranks: Mapping[str, float]) -> str:
    groups = found.comparison.nemenyi.groups or ()
    said = ", ".join(f"{model} {rank:.2f}" for model, rank in ranks.items())
    joined = [", ".join(found.models[column] for column in group if found.models[column] in ranks) for group in groups]
    same = "; ".join(dict.fromkeys(names for names in joined if ", " in names))
    return (
        f"Average ranks in {metric_title(settings.metric)} over {', '.join(found.datasets)}: {said}. Critical"
        f" difference {fixed(found.comparison.nemenyi.critical_difference, 2)}."
        f"{f' Not told apart: {same}.' if same else ' All are told apart.'}"
    )


def _data(found: Across, order: list[str], ranks: Mapping[str, float]) -> pd.DataFrame:
    groups = found.comparison.nemenyi.groups or ()
    lines = [
        (model, ranks[model], " ".join(str(k + 1) for k, of in enumerate(groups) if found.models.index(model) in of))
        for model in order
    ]
    data = pd.DataFrame(lines, columns=["model", "average_rank", "groups"])
    return data.assign(critical_difference=found.comparison.nemenyi.critical_difference)
