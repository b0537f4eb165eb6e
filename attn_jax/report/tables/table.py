"""A table as data: every output (page, CSV, Markdown, LaTeX) is made from the same values."""

import dataclasses
import functools
import math
from collections.abc import Callable

from attn_jax.evaluation.intervals import Interval
from attn_jax.report.arms import Spread
from attn_jax.report.numbers import DASH, spread


@dataclasses.dataclass(frozen=True)
class Value:
    """One entry: `shown` for people, `data` for the CSV (one item a field of the column), `order` to sort by."""

    shown: str
    data: tuple[object, ...]
    order: float | str | None = None
    reason: str = ""
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """A heading, the names of its columns in the CSV, and what a reader is told who asks what it means."""

    label: str
    fields: tuple[str, ...]
    hint: str = ""
    numeric: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
    """`rows` hold a value a column; the first column heads its row. `simulated` marks every form of it."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    simulated: bool = False
    notes: tuple[str, ...] = ()
    sortable: bool = True

    @functools.cached_property
    def footnotes(self) -> tuple[str, ...]:
        """The reasons of all dashes, each once, in order of appearance."""
        return tuple(dict.fromkeys(value.reason for row in self.rows for value in row if value.reason))

    def letter(self, reason: str) -> str:
        """What stands for a reason at a dash and before the footnote."""
        index = self.footnotes.index(reason)
        return chr(ord("a") + index) if index < 26 else str(index - 25)

    def mark(self, value: Value) -> str:
        """The letter of a value's footnote; empty where it has none."""
        return self.letter(value.reason) if value.reason else ""


def text(value: object, reason: str = "") -> Value:
    """A word or a name; nothing at all is a dash."""
    shown = str(value) if value not in (None, "") else DASH
    return Value(shown, ("" if value is None else value,), shown.casefold(), reason)


def number(value: float | None, form: Callable[[float | None], str], reason: str = "") -> Value:
    """A single number in the form `form` gives it."""
    known = value is not None and math.isfinite(value)
    return Value(form(value), (value if known else "",), value if known else None, "" if known else reason)


def ranged(
    value: float | None, interval: Interval | None, form: Callable[[float | None], str], reason: str = ""
) -> Value:
    """A number and its interval, `0.912 (0.880 to 0.941)`, with both ends in the CSV."""
    ends = (None, None) if interval is None else (interval.low, interval.high)
    shown = form(value) if value is None or interval is None else f"{form(value)} ({form(ends[0])} to {form(ends[1])})"
    return Value(shown, (value, *ends), value, reason)


def span(interval: Interval | None, form: Callable[[float | None], str], reason: str) -> Value:
    """An interval alone."""
    if interval is None:
        return Value(DASH, (None, None), None, reason)
    return Value(f"{form(interval.low)} to {form(interval.high)}", (interval.low, interval.high), interval.low)


def over_repeats(value: Spread, digits: int = 3, *, sign: bool = False) -> Value:
    """Mean ± sd, with mean, sd and number of repeats in the CSV."""
    data = tuple("" if item is None else item for item in (value.mean, value.sd, value.n))
    return Value(spread(value.mean, value.sd, digits, sign=sign), data, value.mean, value.reason)


def spread_fields(name: str) -> tuple[str, str, str]:
    """The CSV columns of a value that `over_repeats` made."""
    return name, f"{name}_sd", f"{name}_n"


def mark_best(rows: list[list[Value]], column: int, *, lowest: bool) -> None:
    """Marks the best mean of a column, and every other that equals it exactly; a column of one is not a contest."""
    known = [order for row in rows if isinstance(order := row[column].order, float | int)]
    if len(known) < 2 or min(known) == max(known):
        return
    best = min(known) if lowest else max(known)
    for row in rows:
        if row[column].order == best:
            row[column] = dataclasses.replace(row[column], best=True)
