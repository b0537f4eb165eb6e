"""One model a row: where the rows lie, what stands at their ends, and how names and numbers with intervals read."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attn_jax.evaluation.intervals import Interval
from attn_jax.report.figures.palette import Look
from attn_jax.report.numbers import fixed, signed

NAME_WIDTH = 20
_FAINT_HEIGHT = 0.35


class Rows(NamedTuple):
    """The middle of each model's row, from the top down, and the height of all, in rows of a named model."""

    at: dict[str, float]
    height: float


def rows(names: Sequence[str], look: Mapping[str, Look]) -> Rows:
    """Rows in the order of `names`; those of models that a figure does not name are thin."""
    at, top = {}, 0.0
    for name in names:
        height = _FAINT_HEIGHT if look[name].faint else 1.0
        at[name] = top + height / 2
        top += height
    return Rows(at, top)


def frame(axes, of: Rows, look: Mapping[str, Look]) -> None:
    """Lays the rows out along the y axis and names those that are not faint."""
    named = [name for name in of.at if not look[name].faint]
    axes.set_ylim(of.height, 0)
    axes.set_yticks([of.at[name] for name in named], [wrapped(name) for name in named])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def beside(axes, y: float, text: str) -> None:
    """Text to the right of the axes at a row, in one or two lines."""
    across = axes.get_yaxis_transform()
    axes.annotate(text, (1, y), (7, 0), across, "offset points", va="center", fontsize=8, annotation_clip=False)


def wrapped(name: str) -> str:
    """A name in at most two lines, broken after the mechanism where there is more to it."""
    if len(name) <= NAME_WIDTH:
        return name
    first, dot, rest = name.partition(" \u00b7 ")
    if not dot:
        return "\n".join(textwrap.wrap(name, NAME_WIDTH, max_lines=2, placeholder="\u2026"))
    return f"{shortened(first, NAME_WIDTH)}\n{shortened(rest, NAME_WIDTH)}"


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def within(value: float | None, interval: Interval | None, *, sign: bool = False) -> str:
    """`0.912 (0.880 to 0.941)`, or the number alone where it has no interval."""
    form = signed if sign else fixed
    text = form(value)
    return text if interval is None or value is None else f"{text} ({form(interval.low)} to {form(interval.high)})"


def percent(level: float) -> str:
    """`95 %` for 0.95."""
    return f"{100 * level:g}\u00a0%"


def drawn(seeds: bool, patients: int | None) -> str:
    """What a bootstrap draws, in words; where no file names patients, these are images."""
    unit = "images" if patients is None else "patients"
    return f"seeds and {unit}" if seeds else unit
