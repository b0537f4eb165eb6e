"""Training curves: loss on the training and validation parts, and the metric the study is judged by."""

import numpy as np
import pandas as pd

from attn_jax.report.arms import Comparison
from attn_jax.report.contents import Contents
from attn_jax.report.figures.drawing import Figure, canvas, finish, legend_below
from attn_jax.report.figures.palette import Look
from attn_jax.report.numbers import metric_title

MOST_POINTS = 120
MOST_THIN_LINES = 40
PANELS = {"train_loss": "Training loss", "val_loss": "Validation loss"}


def mean_line(lines: list[pd.Series]) -> pd.Series:
    """The mean over repeats at each place of the axis, as far as all of them went."""
    end = min(line.index.max() for line in lines)
    places = np.unique(np.concatenate([line.index.to_numpy() for line in lines]))
    places = places[places <= end]
    stacked = [np.interp(places, line.index.to_numpy(), line.to_numpy()) for line in lines]
    return pd.Series(np.mean(stacked, axis=0), index=places)


def thinned(line: pd.Series) -> pd.Series:
    """At most `MOST_POINTS` points, each the mean of its neighbours; places and values alike."""
    if len(line) <= MOST_POINTS:
        return line
    bins = np.arange(len(line)) * MOST_POINTS // len(line)
    return pd.Series(line.groupby(bins).mean().to_numpy(), index=pd.Series(line.index).groupby(bins).mean().to_numpy())


def figures(comparison: Comparison, contents: Contents, look: dict[str, Look], name: str) -> list[Figure]:
    """One figure a quantity that was measured."""
    titles = PANELS | {f"val_{comparison.primary}": f"Validation {metric_title(comparison.primary)}"}
    measured = {column: title for column, title in titles.items() if column in contents.history}
    drawn = [_panel(comparison, contents, look, f"{name}-{column}", column, measured[column]) for column in measured]
    return [figure for figure in drawn if figure is not None]


def _panel(
    comparison: Comparison, contents: Contents, look: dict[str, Look], name: str, column: str, title: str
) -> Figure | None:
    history = contents.history[contents.history[column].notna()]
    across = "epoch" if "epoch" in history and history["epoch"].notna().all() else "step"
    by_key = {str(key): part.groupby(across)[column].last() for key, part in history.groupby("key")}
    lines = {arm.label: [thinned(by_key[k]) for k in arm.keys if k in by_key] for arm in comparison.arms}
    lines = {label: found for label, found in lines.items() if found}
    if not lines:
        return None
    thin = sum(map(len, lines.values())) <= MOST_THIN_LINES
    with canvas(3.6, 2.8 + 0.09 * len(comparison.shown)) as (sheet, axes):
        handles, ends = [], []
        for label in sorted(lines, key=lambda text: not look[text].faint):
            style = look[label]
            if thin and not style.faint:
                for line in lines[label]:
                    axes.plot(line.index, line, color=style.colour, linewidth=0.7, alpha=0.35)
            mean = mean_line(lines[label])
            width = 0.8 if style.faint else 2.0
            (drawn,) = axes.plot(
                mean.index, mean, color=style.colour, linestyle=style.dash, linewidth=width, label=label
            )
            if style.faint:
                continue
            drawn.set(marker=style.marker, markevery=[len(mean) - 1], markersize=6, markeredgecolor="white")
            handles.append(drawn)
            ends.append(f"{label} {mean.iloc[-1]:.3f}")
        axes.set(xlabel=across.capitalize(), ylabel=title)
        axes.margins(x=0.03)
        legend_below(sheet, handles)
        here = history["key"].isin([key for arm in comparison.arms for key in arm.keys])
        data = history.loc[here, ["key", "step", across, column]]
        return finish(
            sheet,
            name,
            title,
            f"Thick: mean over {comparison.repeats}s as far as all went{'; thin: single ones' if thin else ''}.",
            data.loc[:, ~data.columns.duplicated()],
            alternative=f"{title} of {comparison.dataset} over {across}s; last means: {', '.join(ends)}.",
            simulated=comparison.simulated,
        )
