"""Subgroups: the primary metric of each model on each group of the test images, one figure a column."""

from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.evidence import OnDataset, Settings, ranked
from attn_jax.evaluation.subgroups import FEWEST_PATIENTS, Subgroups
from attn_jax.report.figures.drawing import Figure, canvas, finish, legend_below
from attn_jax.report.figures.palette import FAINT, Look
from attn_jax.report.figures.rows import drawn, percent, shortened, within
from attn_jax.report.numbers import count, fixed, metric_title, p_value, plural

_STEP, _GAP = 0.15, 0.22  # inches between models of a group, and between groups
_NAME = 24
# So many points a figure has at most, but always those of the baseline and two more models.
_MOST_DOTS, _FEWEST = 48, 3


def figures(
    found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> list[Figure]:
    """One figure a column in which some group has a value."""
    order = ranked(found.models, settings.metric)
    columns = list(dict.fromkeys(of.column for model in order for of in found.models[model].subgroups))
    drawings = []
    for number, column in enumerate(columns):
        by = {model: of for model in order for of in found.models[model].subgroups if of.column == column}
        if any(group.value is not None for of in by.values() for group in of.groups):
            drawings.append(_panel(found, settings, look, f"{name}-{number}", column, by, simulated))
    return drawings


def _panel(
    found: OnDataset,
    settings: Settings,
    look: Mapping[str, Look],
    name: str,
    column: str,
    by: Mapping[str, Subgroups],
    simulated: bool,
) -> Figure:
    title = metric_title(settings.metric)
    groups = next(iter(by.values())).groups
    named = _named(list(by), found.baseline, look, max(_FEWEST, _MOST_DOTS // len(groups)))
    faint = [model for model in by if model not in named]
    lines = len(named) + bool(faint)
    block = _STEP * lines + _GAP
    with canvas(4.6, 0.9 + block * len(groups) + 0.1 * len(named)) as (sheet, axes):
        for k in range(len(groups)):
            middle = block * k
            for place, model in enumerate(named):
                _dot(axes, middle + _STEP * (place - (lines - 1) / 2), by[model], k, look[model])
            rest = [value for model in faint if (value := by[model].groups[k].value) is not None]
            axes.plot(rest, [middle + _STEP * (lines - 1) / 2] * len(rest), "|", color=FAINT, markersize=8, alpha=0.8)
            if k:
                axes.axhline(middle - block / 2, color=FAINT, linewidth=0.5, alpha=0.6)
        axes.set_ylim(block * (len(groups) - 0.5), -block / 2)
        axes.set_yticks([block * k for k in range(len(groups))], [_size(group) for group in groups])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set_xlabel(title)
        legend_below(sheet, [_key(axes, model, look[model]) for model in named])
        return finish(
            sheet,
            name,
            f"{title} by {column}",
            _caption(found, settings, len(faint)),
            _data(by, settings.metric),
            alternative=_alternative(found, title, column, {model: by[model] for model in named}),
            simulated=simulated,
            wide=True,
        )


def _named(order: list[str], baseline: str, look: Mapping[str, Look], most: int) -> list[str]:
    """The baseline and the best of the models that are not faint, in order."""
    able = [model for model in order if not look[model].faint]
    kept = sorted(able, key=lambda model: model != baseline)[:most]
    return [model for model in able if model in kept]


def _dot(axes, y: float, of: Subgroups, k: int, style: Look) -> None:
    group = of.groups[k]
    if group.value is None:
        return
    if group.interval is not None:
        axes.plot(group.interval[:2], [y, y], color=style.colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
    mark = {"color": style.colour, "markersize": 6, "markeredgecolor": "white", "zorder": 4}
    axes.plot([group.value], [y], style.marker, **mark)
    if group.name == of.worst:
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": style.colour, "zorder": 5}
        axes.plot([group.value], [y], "o", **ring)


def _key(axes, model: str, style: Look):
    line = {"linewidth": 1.4, "markersize": 6, "markeredgecolor": "white"}
    return axes.plot([], [], marker=style.marker, color=style.colour, label=model, **line)[0]


def _size(group) -> str:
    images = plural(group.images, "image")
    known = images if group.positives is None else f"{images}, {count(group.positives)} positive"
    return f"{shortened(group.name, _NAME)}\n{known}"


def _caption(found: OnDataset, settings: Settings, hidden: int) -> str:
    who = drawn(False, found.patients)
    parts = [
        f"Means over seeds; lines: {percent(settings.level)} intervals over {who}, by t on the logit scale"
        f" ({settings.replicates} replicates). A ring marks a model's worst group among those with {FEWEST_PATIENTS}"
        f" {who} of each label or more; some group is always the worst: p in the table says how often by chance."
    ]
    parts += [f"Grey: {plural(hidden, 'further model')}, named in the CSV."] if hidden else []
    return " ".join(parts)


def _alternative(found: OnDataset, title: str, column: str, by: Mapping[str, Subgroups]) -> str:
    said = []
    for model, of in by.items():
        worst = [f" {within(group.value, group.interval)}" for group in of.groups if group.name == of.worst]
        said.append(
            f"{model} {of.worst}{worst[0]}, {fixed(of.gap)} from its best, p {p_value(of.p)}"
            if worst
            else f"{model} none"
        )
    where = f" on {found.dataset}" if found.dataset else ""
    return f"{title} by {column}{where}. Worst groups: {'; '.join(said)}."


def _data(by: Mapping[str, Subgroups], metric: str) -> pd.DataFrame:
    lines = [
        (model, of.column, group.name, group.images, group.positives, group.value)
        + ((group.interval or (None, None))[:2] + (group.name == of.worst, of.p))
        for model, of in by.items()
        for group in of.groups
    ]
    columns = ["model", "column", "group", "images", "positives", metric, "low", "high", "worst", "p"]
    return pd.DataFrame(lines, columns=columns)
