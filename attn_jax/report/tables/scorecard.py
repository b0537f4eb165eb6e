"""The saliency scorecard: what every arm's maps are worth, beside maps that know nothing of the network."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attn_jax.explain.scorecard import BASELINES, METRICS
from attn_jax.report.arms import Comparison
from attn_jax.report.contents import Contents
from attn_jax.report.numbers import DASH, count, fixed, signed
from attn_jax.report.tables.leaderboard import STAR, arm_columns, arm_values
from attn_jax.report.tables.scorecard_numbers import Number, Numbers
from attn_jax.report.tables.table import Column, Table, Value, mark_best, text

_SIMILARITIES = {"ssim": "SSIM", "spearman": "Spearman"}
_AGREEMENT = {
    "repeatability": ("Repeatability", "over all pairs of seeds", "needs two seeds"),
    "reproducibility": ("Reproducibility", "over all pairs of backbones", "needs two backbones"),
    "random_labels": (
        "Random labels",
        "of a network trained on the labels and one trained on shuffled ones; low is wanted",
        'needs grid.labels=("true", "random")',
    ),
    "randomised": ("Randomised", "before and after all weights were randomised; low is wanted", "not scored"),
}
_CONSTANT = "share of maps that are the same everywhere and show nothing; lower is better"
_NOT_SCORED, _UNDEFINED = "not scored", "undefined for the map of every image"
_METHOD = Column("Map", ("map",), "the saliency method", numeric=False)


class _Quantity(NamedTuple):
    """What a column shows; `higher` is None where no arm is the best."""

    metric: str
    title: str
    hint: str
    missing: str = _NOT_SCORED
    higher: bool | None = None
    repaired: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        names = tuple(f"{self.metric}{end}" for end in ("", "_low", "_high", "_n"))
        return (*names, f"{self.metric}_repaired") if self.repaired else names


class _Row(NamedTuple):
    head: list[Value]
    keys: Sequence[str]
    method: str
    reason: str


def scorecards(contents: Contents, comparison: Comparison, slug: str) -> tuple[Table, ...]:
    """The scorecard of a data set, and how far each method lies beyond maps that know nothing.

    The first has one row an arm and method, then one a baseline over all arms; the second the arms alone. Each entry is
    a mean over the images of each run, then over the runs, with its percentile interval over patients, drawn alike for
    all rows, and the number of images that have a value. Without any scores there is only why, where that is known.
    """
    known = contents.scores[contents.scores["key"].isin([key for arm in comparison.arms for key in arm.keys])]
    if known.empty:
        return _reasons(contents, comparison, slug)
    numbers = Numbers(known)
    arms, quantities = _arms(contents, comparison, numbers), _quantities(numbers)
    scores = [quantity for quantity in quantities if quantity.higher is not None and not quantity.repaired]
    who = "patients" if contents.datasets[comparison.dataset].patients is not None else "images"
    means = f"over images, then over {comparison.repeats}s (95 % bootstrap interval over {who}; images with a value)."
    notes = _notes(contents, comparison, numbers)
    tables = [
        _table(
            f"scorecard-{slug}",
            f"Saliency scorecard: {comparison.dataset}. Means {means}",
            comparison,
            [*arms, *_baselines(comparison, numbers)],
            {quantity: _shown(numbers, quantity) for quantity in quantities},
            len(arms),
            notes,
        )
    ]
    if arms:
        caption = f"Beyond maps that know nothing: {comparison.dataset}. Mean differences {means}"
        columns = {_difference(quantity): _beyond(numbers, quantity) for quantity in scores}
        tables.append(_table(f"beyond-baselines-{slug}", caption, comparison, arms, columns, 0, (_BEYOND,)))
    return tuple(tables)


_BEYOND = (
    "Above 0 a map is better than the best of the middle of the image, its edges and random numbers, image by image "
    "with the same network; whose interval lies above 0 beats the baselines. Letters say which of them is the best."
)


def _reasons(contents: Contents, comparison: Comparison, slug: str) -> tuple[Table, ...]:
    why = contents.unscored[contents.unscored["method"] == ""].set_index("key")["reason"]
    rows = [(*arm_values(comparison, arm), text(why[key])) for arm in comparison.arms for key in arm.keys if key in why]
    columns = (*arm_columns(comparison), Column("Reason", ("reason",), numeric=False))
    caption = f"Saliency scorecard: {comparison.dataset}. Why the maps of these cells are not scored."
    return (Table(f"scorecard-{slug}", caption, columns, tuple(rows), comparison.simulated),) if rows else ()


def _arms(contents: Contents, comparison: Comparison, numbers: Numbers) -> list[_Row]:
    """A row an arm and method; a method that no network of an arm has a map of keeps the reason."""
    reasons = {
        (key, method): reason for key, method, reason in contents.unscored[["key", "method", "reason"]].to_numpy()
    }
    methods = list(dict.fromkeys([*numbers.methods, *(method for _, method in reasons if method)]))
    rows = []
    for arm in comparison.arms:
        for method in methods:
            why = [reasons[key, of] for key in arm.keys for of in (method, "") if (key, of) in reasons]
            rows.append(_Row([*arm_values(comparison, arm), text(method)], arm.keys, method, why[0] if why else ""))
    return rows


def _baselines(comparison: Comparison, numbers: Numbers) -> list[_Row]:
    axes = [text("")] * (len(arm_columns(comparison)) - 1)
    return [_Row([text(BASELINES[of]), *axes, text(of)], numbers.keys, of, "") for of in numbers.baselines]


def _table(
    name: str,
    caption: str,
    comparison: Comparison,
    rows: Sequence[_Row],
    columns: Mapping[_Quantity, Callable[[_Row], Value]],
    contest: int,
    notes: tuple[str, ...],
) -> Table:
    """The best of the first `contest` rows is marked."""
    entries = [[*row.head, *(value(row) for value in columns.values())] for row in rows]
    heads = [*arm_columns(comparison), _METHOD]
    for place, quantity in enumerate(columns, start=len(heads)):
        if contest and quantity.higher is not None:
            mark_best(entries[:contest], place, lowest=not quantity.higher)
    headings = [*heads, *(Column(quantity.title, quantity.fields, quantity.hint) for quantity in columns)]
    return Table(name, caption, tuple(headings), tuple(map(tuple, entries)), comparison.simulated, notes)


def _quantities(numbers: Numbers) -> list[_Quantity]:
    """Insertion and deletion as their gain over a random order: a network's own probabilities compare with no other."""
    found = []
    for metric, of in METRICS.items():
        gain = f"{metric}_gain"
        if gain in numbers.metrics:
            hint = f"{of.hint}: gain over a random order of the same image's pixels; higher is better"
            found.append(_Quantity(gain, f"{of.title}, gain", hint, higher=True))
        elif metric not in ("insertion", "deletion"):
            better = "higher" if of.higher_is_better else "lower"
            found.append(_Quantity(metric, of.title, f"{of.hint}; {better} is better", higher=of.higher_is_better))
    found.append(_Quantity("constant", "Constant maps", _CONSTANT))
    for kind, (title, hint, missing) in _AGREEMENT.items():
        for measure, words in _SIMILARITIES.items():
            what = f"{words} of maps of an image {hint} / of maps of different images"
            found.append(_Quantity(f"{kind}_{measure}", f"{title}, {words}", what, missing, repaired=True))
    return [quantity for quantity in found if quantity.metric in numbers.metrics]


def _difference(of: _Quantity) -> _Quantity:
    hint = f"{of.hint}; here how much better than the best map that knows nothing"
    return _Quantity(f"{of.metric}_beyond", of.title, hint, higher=True)


def _shown(numbers: Numbers, quantity: _Quantity) -> Callable[[_Row], Value]:
    def value(row: _Row) -> Value:
        found = numbers.mean(quantity.metric, row.method, row.keys)
        if found is None:
            return _dash(quantity, _missing(numbers, quantity, row))
        if np.isnan(found.value):
            return _dash(quantity, _UNDEFINED)
        shown, data = _with_interval(found, sign=False)
        if quantity.repaired:
            other = numbers.repaired(quantity.metric, row.method, row.keys)
            shown, data = f"{shown} / {fixed(other)}", (*data, "" if np.isnan(other) else other)
        return Value(shown, data, found.value)

    return value


def _beyond(numbers: Numbers, quantity: _Quantity) -> Callable[[_Row], Value]:
    def value(row: _Row) -> Value:
        found = numbers.beyond(quantity.metric, row.method, row.keys, higher=bool(quantity.higher))
        if found is None or np.isnan(found.value):
            known = found is not None
            return _dash(_difference(quantity), _UNDEFINED if known else _missing(numbers, quantity, row))
        shown, data = _with_interval(found, sign=True)
        return Value(shown, data, found.value, f"beside {BASELINES[found.against].casefold()}")

    return value


def _with_interval(found: Number, *, sign: bool) -> tuple[str, tuple[object, ...]]:
    interval, form = found.interval, signed if sign else fixed
    ends = f"{form(interval.low)} to {form(interval.high)}; " if interval else ""
    shown = f"{form(found.value)} ({ends}{count(found.images)})"
    return shown, (found.value, *(interval[:2] if interval else ("", "")), found.images)


def _missing(numbers: Numbers, quantity: _Quantity, row: _Row) -> str:
    """Why there is no value: of a baseline nothing is said, it has no agreement."""
    if row.method in BASELINES:
        return ""
    return row.reason or (quantity.missing if set(numbers.keys) & set(row.keys) else _NOT_SCORED)


def _dash(quantity: _Quantity, reason: str) -> Value:
    return Value(DASH, ("",) * len(quantity.fields), None, reason)


def _notes(contents: Contents, comparison: Comparison, numbers: Numbers) -> tuple[str, ...]:
    notes = [
        STAR,
        "A method is worth its name where it beats the middle of the image, edges and random maps, which know nothing "
        "of the network; the mask itself is the most that localisation can reach.",
        "Repeatability, reproducibility: a method that sees the image lies above maps of different images (behind the "
        "stroke). Randomised, random labels: one that depends on the weights, or on what was learnt, falls to them or "
        "below.",
        f"Placed on {count(numbers.images('iou'))} images with a mask; all else is of "
        f"{count(numbers.images('insertion'))} test images that have the class that is explained.",
    ]
    left = [key for arm in comparison.arms for key in arm.keys if key not in set(numbers.keys)]
    whole = contents.unscored[contents.unscored["key"].isin(left) & (contents.unscored["method"] == "")]
    why = "; ".join(dict.fromkeys(whole["reason"]))
    if left:
        notes.append(f"{count(len(left))} finished cells are not scored{f': {why}' if why else ''}.")
    return tuple(notes)
