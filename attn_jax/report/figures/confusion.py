"""Confusion matrices: counts summed over seeds, shaded by the share of their row."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from attn_jax.report.arms import Arm, Comparison
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import LIGHT
from attn_jax.report.numbers import plural

MOST_NUMBERED = 12


def summed(arm: Arm) -> Int[np.ndarray, "K K"] | None:
    """Counts [true class, decided class] over all repeats; None where there is no such matrix (findings)."""
    tables = [np.array(result.confusion) for result in arm.results.values() if result.confusion is not None]
    return np.sum(tables, axis=0) if tables else None


def figures(comparison: Comparison, classes: tuple[str, ...], name: str) -> list[Figure]:
    """One matrix an arm, the baseline first, then the best."""
    order = sorted(
        (arm for arm in comparison.ranked if arm in comparison.shown), key=lambda a: not comparison.is_baseline(a)
    )
    found = [(arm, counts) for arm in order if (counts := summed(arm)) is not None]
    return [_matrix(comparison, arm, counts, classes, f"{name}-{i}") for i, (arm, counts) in enumerate(found)]


def _matrix(comparison: Comparison, arm: Arm, counts: np.ndarray, classes: tuple[str, ...], name: str) -> Figure:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(classes)
    small = size > MOST_NUMBERED
    with canvas(*(2.7, 2.6) if size <= 3 else (4.4, 4.3)) as (sheet, axes):
        # Squares, not an image: the page holds no pixels that could be a picture of a patient.
        for row in range(size):
            for column in range(size):
                _square(axes, row, column, share[row, column])
                if not small:
                    text = f"{counts[row, column]}\n{100 * share[row, column]:.0f} %"
                    font = 9 if size <= 3 else 7 if size <= 7 else 5.5
                    axes.text(column, row, text, ha="center", va="center", fontsize=font, zorder=4)
        axes.set(
            xlim=(-0.5, size - 0.5),
            ylim=(size - 0.5, -0.5),
            aspect="equal",
            title=_shortened(arm.label, 30 if size <= 3 else 50),
        )
        names = [_shortened(c, 14) for c in classes]
        axes.set_xticks(range(size), names, rotation=0 if size <= 3 else 60, ha="center" if size <= 3 else "right")
        axes.set_yticks(range(size), names, rotation=90 if size <= 3 else 0, va="center")
        axes.set(xlabel="Decided", ylabel="True")
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        data = pd.DataFrame(
            [(arm.label, classes[i], classes[j], counts[i, j], share[i, j]) for i in range(size) for j in range(size)],
            columns=["arm", "true", "decided", "count", "share_of_row"],
        )
        right = ", ".join(f"{c}: {100 * share[i, i]:.0f} % of {counts[i].sum()}" for i, c in enumerate(classes))
        return finish(
            sheet,
            name,
            f"Confusion matrix of {arm.label}",
            f"Counts over {plural(len(arm.results), comparison.repeats)}, and percent of their row.",
            data,
            alternative=f"Confusion matrix of {arm.label} on {comparison.dataset}. Right: {right}.",
            simulated=comparison.simulated,
            wide=size > 3,
        )


def _square(axes, row: int, column: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    box: dict[str, Any] = {"xy": (column - 0.48, row - 0.48), "width": 0.96, "height": 0.96}
    axes.add_patch(Rectangle(**box, facecolor=LIGHT[0], alpha=0.04 + 0.5 * share, linewidth=0, zorder=2))
    if row == column:
        axes.add_patch(Rectangle(**box, facecolor="none", edgecolor=LIGHT[0], linewidth=1.0, zorder=3))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
