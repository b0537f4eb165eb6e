"""The saliency scorecard: what every arm's maps are worth, beside maps that know nothing of the network."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from attn_jax.evaluation.replicates import clusters
from attn_jax.evaluation.weighted_means import weighted_means
from attn_jax.explain.scorecard import BASELINES, METRICS
from attn_jax.report.arms import Comparison
from attn_jax.report.contents import Contents
from attn_jax.report.numbers import DASH, count, fixed
from attn_jax.report.tables.leaderboard import STAR, arm_columns, arm_values
from attn_jax.report.tables.table import Column, Table, Value, mark_best, text

REPLICATES = 1000
_REPAIRED, _RANDOMISED = "/repaired", "randomised_"
_SIMILARITIES = {"ssim": "SSIM", "spearman": "Spearman"}
_AGREEMENT = {
    "repeatability": ("Repeatability", "over all pairs of seeds", "needs two seeds, and Grad-CAM"),
    "reproducibility": ("Reproducibility", "over all pairs of backbones", "needs two backbones, and Grad-CAM"),
    "randomised": ("Randomised", "before and after all weights were randomised", "not scored"),
}
_NOT_SCORED = "not scored"


class _Quantity(NamedTuple):
    metric: str
    title: str
    hint: str
    missing: str
    repaired: bool

    @property
    def fields(self) -> tuple[str, ...]:
        names = (self.metric, f"{self.metric}_low", f"{self.metric}_high")
        return (*names, f"{self.metric}_repaired") if self.repaired else names


class _Row(NamedTuple):
    head: list[Value]
    keys: Sequence[str]
    method: str


def scorecard(contents: Contents, comparison: Comparison, name: str) -> Table | None:
    """One row an arm and method, then one a baseline over all arms; None where nothing was scored.

    Each entry is the mean over the images of each run, then over the runs, with its percentile interval over patients,
    drawn alike for all rows.
    """
    known = contents.scores[contents.scores["key"].isin([key for arm in comparison.arms for key in arm.keys])]
    if known.empty:
        return None
    known = _after_all_layers(known)
    quantities = _quantities(known)
    methods = [method for method in dict.fromkeys(known["method"]) if method not in BASELINES]
    arms = [
        _Row([*arm_values(comparison, arm), text(method)], arm.keys, method)
        for arm in comparison.arms
        for method in methods
    ]
    keys = list(dict.fromkeys(known["key"]))
    axes = [text("")] * (len(arm_columns(comparison)) - 1)
    present = set(known["method"])
    baselines = [_Row([text(title), *axes, text(of)], keys, of) for of, title in BASELINES.items() if of in present]
    columns = [*arm_columns(comparison), Column("Map", ("map",), "the saliency method", numeric=False)]
    entries: list[list[Value]] = [list(row.head) for row in (*arms, *baselines)]
    for quantity in quantities:
        columns.append(Column(quantity.title, quantity.fields, quantity.hint))
        for entry, value in zip(entries, _values(known, quantity, arms, baselines), strict=True):
            entry.append(value)
    ours = entries[: len(arms)]
    for place, quantity in enumerate(quantities, start=len(columns) - len(quantities)):
        if quantity.metric in METRICS:
            mark_best(ours, place, lowest=not METRICS[quantity.metric].higher_is_better)
    who = "patients" if contents.datasets[comparison.dataset].patients is not None else "images"
    caption = (
        f"Saliency scorecard: {comparison.dataset}. Means over images, then over {comparison.repeats}s, with 95 % "
        f"bootstrap intervals over {who}."
    )
    rows = tuple(map(tuple, [*ours, *entries[len(arms) :]]))
    notes = _notes(known, comparison)
    return Table(name, caption, tuple(columns), rows, comparison.simulated, notes)


def _after_all_layers(known: pd.DataFrame) -> pd.DataFrame:
    """Of what was measured after each layer was randomised the last, when all were, without the layer's name."""
    steps = known["metric"].str.startswith(_RANDOMISED) & ~known["metric"].str.endswith(_REPAIRED)
    parts = known[steps].assign(measure=known.loc[steps, "metric"].str.partition("/")[0])
    last = parts.groupby(["key", "method", "measure"], sort=False)["metric"].transform("last")
    kept = parts[parts["metric"] == last]
    return pd.concat([known[~steps], kept.assign(metric=kept["measure"])[known.columns]], ignore_index=True)


def _quantities(known: pd.DataFrame) -> list[_Quantity]:
    present = set(known["metric"])
    found = [
        _Quantity(
            metric,
            of.title,
            f"{of.hint}; {'higher' if of.higher_is_better else 'lower'} is better",
            _NOT_SCORED,
            repaired=False,
        )
        for metric, of in METRICS.items()
    ]
    for kind, (title, hint, missing) in _AGREEMENT.items():
        for measure, words in _SIMILARITIES.items():
            what = f"{words} of maps of an image {hint} / of maps of different images"
            found.append(_Quantity(f"{kind}_{measure}", f"{title}, {words}", what, missing, repaired=True))
    return [quantity for quantity in found if quantity.metric in present]


def _values(known: pd.DataFrame, quantity: _Quantity, arms: Sequence[_Row], baselines: Sequence[_Row]) -> list[Value]:
    part = known[known["metric"] == quantity.metric]
    table = part.pivot(index="image_id", columns=["method", "key"], values="value")
    group = part.drop_duplicates("image_id").set_index("image_id")["group"].loc[table.index].to_numpy()
    means = weighted_means(table.to_numpy(dtype=float), clusters(group, len(group)), REPLICATES)
    repaired = known[known["metric"] == f"{quantity.metric}{_REPAIRED}"].groupby(["method", "key"])["value"].mean()
    scored = set(known["key"])
    found = []
    for row in (*arms, *baselines):
        columns = [(row.method, key) for key in row.keys if (row.method, key) in table.columns]
        if not columns:
            missing = quantity.missing if scored & set(row.keys) else _NOT_SCORED
            found.append(_dash(quantity, missing if row in arms else ""))
            continue
        value, interval = means.over(np.array([table.columns.get_loc(column) for column in columns]))
        if np.isnan(value):
            found.append(_dash(quantity, "undefined for the map of every image"))
            continue
        shown, data = fixed(value), [value, *(interval[:2] if interval else ("", ""))]
        shown += f" ({fixed(interval.low)} to {fixed(interval.high)})" if interval else ""
        if quantity.repaired:
            other = float(repaired.reindex(columns).mean())
            shown, data = f"{shown} / {fixed(other)}", [*data, "" if np.isnan(other) else other]
        found.append(Value(shown, tuple(data), value))
    return found


def _dash(quantity: _Quantity, reason: str) -> Value:
    return Value(DASH, ("",) * len(quantity.fields), None, reason)


def _notes(known: pd.DataFrame, comparison: Comparison) -> tuple[str, ...]:
    notes = [
        STAR,
        "A method is worth its name where it beats the middle of the image, edges and random maps, which know nothing "
        "of the network; the mask itself is the most that localisation can reach.",
        "Repeatability, reproducibility: a method that sees the image lies above maps of different images (behind the "
        "stroke). Randomised: one that depends on the weights falls to them or below.",
    ]
    images = known.groupby("metric")["image_id"].nunique()
    masked, scored = images.get("iou", 0), images.get("insertion", 0)
    notes.append(f"Placed on {count(masked)} images with a mask; all else is of {count(scored)} test images a fold.")
    left = sum(key not in set(known["key"]) for arm in comparison.arms for key in arm.keys)
    return (*notes, *([f"{count(left)} finished cells are not scored."] if left else []))
