"""Cost against quality: one point an arm, its bar the metric's interval, and the front that no arm beats in both."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from attn_jax.evaluation import shown
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.report import numbers
from attn_jax.report.arms import Comparison
from attn_jax.report.evidence import Judged
from attn_jax.report.figures.drawing import Figure, canvas, finish, legend_below
from attn_jax.report.figures.palette import FAINT, Look

MOST_LABELS = 6
PANELS: tuple[tuple[str, str, float, str], ...] = (
    ("parameters", "Parameters (millions)", 1e-6, "parameters"),
    ("gmacs", "Operations of a forward pass (GFLOPs)", 2.0, "operations"),
    ("step_bytes", "Bytes moved by a training step (MiB)", 2.0**-20, "bytes moved"),
    ("step_seconds", "Time of a training step (ms)", 1e3, "step time"),
    ("compile_seconds", "Compile time (s)", 1.0, "compile time"),
)
_FORMS: dict[str, Callable[[float | None], str]] = {
    "parameters": numbers.parameters,
    "gmacs": numbers.operations,
    "step_bytes": numbers.size,
    "step_seconds": numbers.time,
    "compile_seconds": numbers.time,
}


def figures(comparison: Comparison, look: dict[str, Look], name: str, judged: Judged | None = None) -> list[Figure]:
    """One scatter a cost that was measured; arms that were not `judged` have no interval."""
    found = [_scatter(comparison, judged, look, f"{name}-{panel[0]}", *panel) for panel in PANELS]
    return [drawn for drawn in found if drawn is not None]


def front(
    cost: Float[np.ndarray, "arms"], quality: Float[np.ndarray, "arms"], *, lower_is_better: bool
) -> Bool[np.ndarray, "arms"]:
    """Whether an arm is on the Pareto front: no other costs no more and is no worse, and beats it in one of the two."""
    worth = -quality if lower_is_better else quality
    no_dearer, no_worse = cost[:, None] <= cost, worth[:, None] >= worth
    beats = no_dearer & no_worse & ((cost[:, None] < cost) | (worth[:, None] > worth))
    return np.logical_not(beats.any(axis=0))


def _scatter(
    comparison: Comparison,
    judged: Judged | None,
    look: dict[str, Look],
    name: str,
    field: str,
    axis: str,
    factor: float,
    short: str,
) -> Figure | None:
    metric = comparison.primary
    rows = []
    for arm in comparison.arms:
        cost, quality = arm.cost(field), arm.metric(metric)
        if cost.mean is not None and quality.mean is not None:
            interval = _interval(judged, arm.label, metric)
            rows.append((arm.label, cost.mean, cost.sd, quality.mean, *(interval[:2] if interval else (None, None))))
    if not rows:
        return None
    title = numbers.metric_title(metric)
    costs, levels = np.array([row[1] for row in rows]), np.array([row[3] for row in rows])
    on_front = front(costs, levels, lower_is_better=metric in LOWER_IS_BETTER)
    crowded = len(rows) > MOST_LABELS
    with canvas(3.6, 2.9 + 0.15 * crowded * len(comparison.shown)) as (sheet, axes):
        handles, labelled = [], []
        for label, spent, _, level, low, high in rows:
            style = look[label]
            drawn = axes.errorbar(
                [factor * spent],
                [level],
                # A share's interval may leave out its mean by rounding; a bar cannot point backwards.
                yerr=None if low is None or style.faint else np.maximum([[level - low], [high - level]], 0),
                color=style.colour,
                marker=style.marker,
                markersize=4 if style.faint else 8,
                markeredgecolor="white",
                elinewidth=1.1,
                capsize=2.5,
                linestyle="none",
                zorder=2 if style.faint else 3,
                label=label,
            )
            if not style.faint:
                handles.append(drawn)
                labelled.append((factor * spent, level, label))
        order = np.flatnonzero(on_front)[np.argsort(costs[on_front], kind="stable")]
        line = {"color": FAINT, "linewidth": 1.0, "drawstyle": "steps-post", "zorder": 1}
        axes.plot(factor * costs[order], levels[order], gid="front", **line)
        axes.margins(0.16, 0.14)
        axes.locator_params(axis="x", nbins=5)
        if crowded:
            legend_below(sheet, handles)
        else:
            _place_labels(axes, labelled, list(zip(factor * costs[order], levels[order], strict=True)))
        axes.set(xlabel=axis, ylabel=f"Mean {title}")
        form = _FORMS[field]
        said = "; ".join(
            f"{label}: {form(spent)}, {numbers.fixed(level)}{_within(low, high)}"
            for label, spent, _, level, low, high in rows[:12]
        )
        best = [label for label, on in zip((row[0] for row in rows), on_front, strict=True) if on]
        columns = ["arm", field, f"{field}_sd", metric, f"{metric}_low", f"{metric}_high"]
        return finish(
            sheet,
            name,
            f"{title} against {short}",
            f"{f'Bars: {judged.interval_words}. ' if judged else ''}Line: the Pareto front of the means (no arm is"
            f" better for no more cost): {_listed(best)}.",
            pd.DataFrame(rows, columns=columns).assign(front=on_front),
            alternative=f"{title} against {short} on {comparison.dataset}. {said}. On the front: {_listed(best)}.",
            simulated=comparison.simulated,
        )


def _interval(judged: Judged | None, label: str, metric: str) -> Interval | None:
    of = judged.found.models.get(label) if judged else None
    return shown.of_value(of.metrics[metric], metric, len(of.seeds) > 1)[1] if of else None


def _within(low: float | None, high: float | None) -> str:
    return "" if low is None else f" ({numbers.fixed(low)} to {numbers.fixed(high)})"


def _listed(names: list[str]) -> str:
    if len(names) > MOST_LABELS:
        return f"{len(names)} arms marked in the CSV"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _place_labels(axes, points: list[tuple[float, float, str]], stairs: list[tuple[float, float]]) -> None:
    """Names beside their points, moved up or down until none covers another or a stair of the front; a thin line leads
    back where moved."""
    axes.figure.draw_without_rendering()
    to_pixels = axes.transData.transform
    frame = axes.get_window_extent()
    em = axes.figure.dpi * 8 / 72
    taken: list[tuple[float, float, float, float]] = []
    for (left, low), (right, high) in zip(*(map(to_pixels, of) for of in (stairs[:-1], stairs[1:])), strict=True):
        taken += [(left, low, right, low), (right, low, right, high)]
    for x, y, label in sorted(points, key=lambda p: p[1]):
        px, py = to_pixels((x, y))
        width = 0.62 * em * len(label)
        right = px + 0.9 * em + width <= frame.x1
        left_edge = px + 0.9 * em if right else px - 0.9 * em - width
        for step in range(12):
            offset = (step + 1) // 2 * (1 if step % 2 else -1) * 1.2 * em
            box = (left_edge, py + offset - 0.6 * em, left_edge + width, py + offset + 0.6 * em)
            if not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken):
                break
        taken.append(box)
        points_of = 72 / axes.figure.dpi
        place = ((0.9 if right else -0.9) * em * points_of, offset * points_of)
        lead = {"arrowstyle": "-", "linewidth": 0.5, "color": FAINT, "shrinkB": 4} if offset else None
        axes.annotate(
            label,
            (x, y),
            place,
            textcoords="offset points",
            fontsize=8,
            va="center",
            ha="left" if right else "right",
            arrowprops=lead,
            zorder=5,
        )
