"""Arms: the cells that differ in nothing but seed and fold, and the mean, spread and difference over them."""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from attn_jax.attention import MECHANISMS, SHUFFLED
from attn_jax.evaluation.evidence import first_baseline
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.records import Result
from attn_jax.report.contents import REPEATS, Contents

MOST_SHOWN = 8
_LABELS = ("labels", "data.labels")


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) over `n` repeats; None where they do not exist, `reason` says why."""

    mean: float | None
    sd: float | None
    n: int
    reason: str = ""


def over(values: Sequence[float | None], reason: str = "") -> Spread:
    """The spread of those values that exist."""
    known = np.array([v for v in values if v is not None and not math.isnan(v)], dtype=float)
    if not len(known):
        return Spread(None, None, 0, reason or "no value")
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return Spread(float(known.mean()), sd, len(known), reason if len(known) < len(values) else "")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One line of a comparison: a mechanism with all that stands beside it, its repeats in order of seed and fold.

    `label` is its own among all arms of a study; `title` is the mechanism's part of it. A `control` was trained on
    random labels: it shows what a method makes of nothing learnt, and takes no part in comparisons.
    """

    label: str
    title: str
    attention: str
    others: tuple[str, ...]
    cells: pd.DataFrame = dataclasses.field(compare=False, repr=False)
    results: Mapping[tuple[str, str], Result] = dataclasses.field(compare=False, repr=False)
    control: bool = False

    @property
    def keys(self) -> list[str]:
        """The keys of its cells."""
        return list(self.cells["key"])

    def metric(self, name: str) -> Spread:
        """A metric over the repeats."""
        return self._over([result.metrics.get(name) for result in self.results.values()], name)

    def class_metric(self, of: str, name: str) -> Spread:
        """A metric of one class over the repeats."""
        values = [result.per_class.get(of, {}).get(name) for result in self.results.values()]
        return self._over(values, f"{name}/{of}")

    def cost(self, name: str) -> Spread:
        """A column of the cells over the repeats."""
        return over(list(self.cells[name].astype(float)), "not measured")

    def _over(self, values: list[float | None], name: str) -> Spread:
        reasons = [result.undefined[name] for result in self.results.values() if name in result.undefined]
        if None not in values:
            return over(values)
        return over(values, reasons[0] if reasons else "undefined in these runs")


def difference(arm: Arm, reference: Arm, name: str) -> Spread:
    """A metric's difference to a reference over the repeats that both have."""
    shared = [repeat for repeat in arm.results if repeat in reference.results]
    if not shared:
        return Spread(None, None, 0, "no seed in common with the baseline")
    if any(arm.results[r].test_set != reference.results[r].test_set for r in shared):
        return Spread(None, None, 0, "not tested on the same images as the baseline")
    pairs = [(arm.results[r].metrics.get(name), reference.results[r].metrics.get(name)) for r in shared]
    return over([None if a is None or b is None else a - b for a, b in pairs], "undefined in these runs")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The arms that were trained on `dataset` and tested on one and the same part: its own, or all of `tested_on`."""

    dataset: str
    tested_on: str
    primary: str
    baseline: str
    axes: tuple[str, ...]
    arms: tuple[Arm, ...]
    simulated: bool

    @functools.cached_property
    def ranked(self) -> tuple[Arm, ...]:
        """The arms, best mean of the primary metric first; arms without one after them, and controls last."""
        sign = 1 if self.primary in LOWER_IS_BETTER else -1

        def place(arm: Arm) -> tuple[bool, float]:
            mean = arm.metric(self.primary).mean
            return arm.control, math.inf if mean is None else sign * mean

        return tuple(sorted(self.arms, key=place))

    @functools.cached_property
    def shown(self) -> tuple[Arm, ...]:
        """The arms a figure can hold, in grid order: all, or the baselines and the best of the others."""
        if len(self.arms) <= MOST_SHOWN:
            return self.arms
        first = [arm for arm in self.arms if self.is_baseline(arm)][: MOST_SHOWN // 2]
        best = [arm for arm in self.ranked if arm not in first][: MOST_SHOWN - len(first)]
        return tuple(arm for arm in self.arms if arm in first or arm in best)

    def is_baseline(self, arm: Arm) -> bool:
        """Whether the arm has the baseline mechanism."""
        return arm.attention == self.baseline

    def reference(self, arm: Arm) -> Arm | None:
        """The baseline with all else equal; where the baseline has one arm only (no placement, say), that one."""
        if self.is_baseline(arm):
            return None
        candidates = [a for a in self.arms if self.is_baseline(a)]
        same = [a for a in candidates if a.others == arm.others]
        same = same or [a for a in candidates if _but_placement(self.axes, a) == _but_placement(self.axes, arm)]
        return same[0] if len(same) == 1 else None

    @functools.cached_property
    def same_images(self) -> bool:
        """Whether, repeat by repeat, all arms were tested on the same images with the same labels."""
        tested: dict[tuple[str, str], set[str]] = {}
        for arm in self.arms:
            for repeat, result in arm.results.items():
                tested.setdefault(repeat, set()).add(result.test_set)
        return all(len(found) == 1 for found in tested.values())

    @property
    def repeats(self) -> str:
        """What the spread is over, in words: seeds, folds, or runs (seeds × folds)."""
        varies = [name for name in REPEATS if pd.concat([a.cells[name] for a in self.arms]).nunique() > 1]
        return {"seed": "seed", "fold": "fold"}.get("".join(varies), "run" if varies else "seed")


def _but_placement(axes: tuple[str, ...], arm: Arm) -> tuple[str, ...]:
    return tuple(value for axis, value in zip(axes, arm.others, strict=True) if axis != "placement")


def comparisons(contents: Contents) -> list[Comparison]:
    """Every comparison of the study, own test parts first, in the order of the cells."""
    axes = tuple(name for name in ("model", "placement", *contents.extra_axes) if _varies(contents.cells, name))
    called = titles(contents)
    found = []
    for (dataset, tested_on), part in contents.done.groupby(["dataset", "tested_on"], sort=False):
        groups = part.groupby(["attention", *(part[name].map(str) for name in axes)], sort=False)
        arms = tuple(_arm(contents, list(axes), cells, called) for _, cells in groups)
        simulated = contents.simulated(dataset, tested_on)
        baseline = contents.baseline or first_baseline([arm.attention for arm in arms])
        found.append(Comparison(dataset, tested_on, contents.primary, baseline, axes, arms, simulated))
    return sorted(found, key=lambda c: c.tested_on != "")


def titles(contents: Contents) -> dict[str, str]:
    """What the page calls each mechanism: as its paper does, or in full where two would be called alike."""
    names = list(dict.fromkeys(map(str, contents.cells["attention"])))
    if contents.verbatim:
        return dict(zip(names, names, strict=True))
    short = {name: mechanism_title(name) for name in names}
    count = collections.Counter(title.casefold() for title in short.values())
    return {name: title if count[title.casefold()] == 1 else name for name, title in short.items()}


def mechanism_title(name: str) -> str:
    """A mechanism as its paper calls it: `CBAM` for `cbam`, the class's name for `package.module:Class`."""
    if name.startswith(SHUFFLED):
        return f"shuffled {mechanism_title(name.removeprefix(SHUFFLED))}"
    known = MECHANISMS.get(name)
    return known.__name__ if known else name.rsplit(":", 1)[-1]


def _varies(cells: pd.DataFrame, axis: str) -> bool:
    """Whether a mechanism was run with several values: where each has its usual placement, placement is no axis."""
    return bool((cells[axis].map(str).groupby([cells["dataset"], cells["attention"]]).nunique() > 1).any())


def _arm(contents: Contents, axes: list[str], cells: pd.DataFrame, called: Mapping[str, str]) -> Arm:
    cells = cells.sort_values(list(REPEATS), kind="stable")
    first = cells.iloc[0]
    others = tuple(str(first[name]) for name in axes)
    repeats = [(str(seed), str(fold)) for seed, fold in zip(cells["seed"], cells["fold"], strict=True)]
    results = {r: contents.results[key] for r, key in zip(repeats, cells["key"], strict=True)}
    name = str(first["attention"])
    control = any(axis in _LABELS and value == "random" for axis, value in zip(axes, others, strict=True))
    return Arm(" · ".join((called[name], *others)), called[name], name, others, cells, results, control)
