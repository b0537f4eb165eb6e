"""The models of a panel against a baseline, and each against each: effects first, then intervals, then tests."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from attn_jax.evaluation import delong, power
from attn_jax.evaluation.equivalence import MARGIN, Compared, Equivalence, judge
from attn_jax.evaluation.intervals import LEVEL, NO_INTERVAL, Interval
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.paired_tests import OVER_SEEDS, Test, mcnemar, permutations, wilcoxon
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.power import Needed
from attn_jax.evaluation.resampled import METHODS, Numbers, paired
from attn_jax.evaluation.standard_error import StandardError

Measured = Mapping[str, Mapping[str, Numbers]]


@dataclasses.dataclass(frozen=True)
class Effect:
    """First minus second in one metric, over the seeds that pair them.

    Models without such seeds are compared by their means, each model's seeds by itself: `unpaired`, and `seeds` is
    empty. `standardised` is the mean difference over its standard deviation over seeds (Cohen's d of pairs). `error`
    is what interval, `p` and verdict come from: over patients and, where both models have several seeds, over seeds.
    `intervals` are `"patients t"`, seeds as they are, `"seeds and patients t"`, and the same by the paired bootstrap's
    `resampled.METHODS`.
    """

    metric: str
    value: float | None
    seeds: tuple[float, ...] = ()
    sd: float | None = None
    standardised: float | None = None
    error: float | None = None
    spread: StandardError | None = None
    p: float | None = None
    intervals: Mapping[str, Interval | None] = dataclasses.field(default_factory=dict)
    unpaired: bool = False
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Needs:
    """The smallest difference that the test finds with 80 % power (None: undefined); how many seeds and patients it
    takes to find one of the margin's size; and patients to find equal models equivalent."""

    detectable: float | None
    seeds: Needed
    patients: Needed
    equivalence: Needed


@dataclasses.dataclass(frozen=True)
class Contest:
    """One model against another in the primary metric; `adjusted` holds Holm's p of each test over the family."""

    first: str
    second: str
    effects: Mapping[str, Effect]
    tests: tuple[Test, ...]
    adjusted: tuple[float | None, ...]
    equivalence: Equivalence | None
    needed: Needs


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two models in the primary metric; `adjusted` holds Holm's p of each test over all pairs."""

    first: str
    second: str
    effect: Effect
    tests: tuple[Test, ...]
    adjusted: tuple[float | None, ...]


def effect(numbers: Numbers | None, metric: str, level: float = LEVEL) -> Effect:
    """A difference with its interval and p, by `standard_error`."""
    if numbers is None:
        return Effect(metric, None, reason="no seeds to pair, and folds of their own")
    value, unpaired = numbers.value, len(numbers.sizes) > 1
    seeds = () if unpaired else tuple(numbers.point.tolist())
    if np.isnan(value):
        return Effect(metric, None, seeds, unpaired=unpaired, reason="undefined on these test images")
    sd = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    standardised = value / sd if sd else None
    if metric in NO_INTERVAL:
        return Effect(metric, value, seeds, sd, standardised, unpaired=unpaired, reason=NO_INTERVAL[metric])
    alone, both = numbers.of_these_seeds(), numbers.of_all_seeds()
    error = both or alone
    intervals = {"patients t": alone.interval(value, level) if alone else None}
    intervals |= {f"patients {method}": numbers.by_bootstrap(method, level) for method in METHODS}
    if both:
        intervals["seeds and patients t"] = both.interval(value, level)
        for method in METHODS:
            intervals[f"seeds and patients {method}"] = numbers.by_hierarchical_bootstrap(method, level)
    p = error.p(value) if error else None
    return Effect(
        metric,
        value,
        seeds,
        sd,
        standardised,
        error.total if error else None,
        error,
        p,
        intervals,
        unpaired,
        "" if p is not None else "replicates are undefined" if error is None else "replicates are all alike",
    )


def against(
    panel: Panel,
    measured: Measured,
    references: Mapping[str, str],
    metric: str,
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Contest, ...]:
    """Each model against its baseline, `references[model]`, in all metrics; tests are of the primary `metric` and of
    decisions, and all these models are one family."""
    effects = [
        {name: effect(paired(panel, measured, model, baseline, name), name, level) for name in measured[model]}
        for model, baseline in references.items()
    ]
    primary = [of[metric] for of in effects]
    tests, families = _tested(panel, list(references.items()), metric, primary, seed)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    compared = [
        None if of.value is None or of.spread is None else Compared(sign * of.value, of.spread, adjusted)
        for of, adjusted in zip(primary, families[0] if families else [], strict=True)
    ]
    alpha = (1 - level) / max(1, sum(of.p is not None for of in primary))
    return tuple(
        Contest(
            model,
            baseline,
            effects[row],
            tests[row],
            tuple(family[row] for family in families),
            verdict,
            needs(primary[row], margin, alpha),
        )
        for row, ((model, baseline), verdict) in enumerate(
            zip(references.items(), judge(compared, margin, level), strict=True)
        )
    )


def needs(of: Effect, margin: float, alpha: float) -> Needs:
    """Sample sizes for 80 % power at `alpha`: that of the smallest p of the family, where Holm's adjustment starts."""
    if of.spread is None or of.spread.total <= 0:
        none = Needed(None, of.reason or "no spread was seen")
        return Needs(None, none, none, none)
    return Needs(
        power.detectable(of.spread, alpha=alpha),
        power.seeds(of.spread, margin, alpha=alpha),
        power.patients(of.spread, margin, alpha=alpha),
        power.patients_for_equivalence(of.spread, margin, alpha=alpha),
    )


def _tested(
    panel: Panel, pairs: Sequence[tuple[str, str]], metric: str, effects: Sequence[Effect], seed: int
) -> tuple[list[tuple[Test, ...]], list[list[float | None]]]:
    """The tests of each pair, and of each test Holm's p over the pairs."""
    swapped = permutations(panel, pairs, metric, seed=seed)
    tests = [
        tuple(_tests(panel, *pair, metric, of, test)) for pair, of, test in zip(pairs, effects, swapped, strict=True)
    ]
    return tests, [holm([of.p for of in family]) for family in zip(*tests, strict=True)]


def _tests(panel: Panel, first: str, second: str, metric: str, of: Effect, swapped: Test) -> list[Test]:
    shared = panel.shared(first, second)
    found = [Test("t", of.p, of.reason)]
    if metric == "auc":
        compared = delong_difference(panel, first, second)
        reason = "" if compared else "for the AUC of two classes with two images of each, judged by all runs"
        found.append(Test("DeLong", compared.p if compared else None, reason))
    found.append(swapped)
    if shared and panel.first.kind == "single":
        runs = [[panel.runs[model][seed] for seed in shared] for model in (first, second)]
        one, other = (np.concatenate([run.right for run in of]) for of in runs)
        found.append(mcnemar(one, other, np.concatenate([run.seen(panel.cluster) for run in runs[0]])))
    else:
        found.append(Test("McNemar", None, "for one decision an image" if shared else "no seeds to pair"))
    found.append(wilcoxon(np.array(of.seeds)) if of.seeds else Test(OVER_SEEDS, None, "no seeds to pair"))
    return found


def delong_difference(panel: Panel, first: str, second: str) -> delong.Difference | None:
    """The mean AUC over shared seeds of one model less another's; patients are clusters. None but for two classes, and
    for folds."""
    shared = panel.shared(first, second)
    test = panel.first
    if not test.binary or not shared or not panel.whole:
        return None
    scores = [panel.runs[model][run].test.score[:, test.positive] for model in (first, second) for run in shared]
    contrast = np.repeat([1.0, -1.0], len(shared)) / len(shared)
    return delong.difference(delong.areas(test.label == test.positive, np.stack(scores), panel.cluster), contrast)


def all_pairs(
    panel: Panel, measured: Measured, models: Sequence[str], metric: str, *, level: float = LEVEL, seed: int = 0
) -> tuple[Pair, ...]:
    """Each of `models` less each later one; all these pairs are one family."""
    pairs = list(itertools.combinations(models, 2))
    effects = [effect(paired(panel, measured, *pair, metric), metric, level) for pair in pairs]
    tests, families = _tested(panel, pairs, metric, effects, seed)
    return tuple(
        Pair(*pair, effects[row], tests[row], tuple(family[row] for family in families))
        for row, pair in enumerate(pairs)
    )


def letters(order: Sequence[str], differs: Mapping[tuple[str, str], bool | None]) -> dict[str, str]:
    """Significance letters: two models share a letter when they are not told apart, which is not equivalence (Piepho
    2004, doi 10.1198/1061860043515).

    Args:
        order: the models, best first; `a` goes to the best.
        differs: whether two models, in any order of the pair, differ significantly; None: it is not known. Of such
            pairs one model, that of most of them, has no letter.
    """
    unknown = [set(pair) for pair, of in differs.items() if of is None]
    lettered = list(order)
    while unknown:
        most = max(reversed(order), key=lambda model: sum(model in pair for pair in unknown))
        lettered.remove(most)
        unknown = [pair for pair in unknown if most not in pair]
    if len(lettered) < 2:
        return dict.fromkeys(order, "")
    groups = [set(lettered)]
    for first in lettered:
        for second in lettered:
            if first == second or not differs.get((first, second), differs.get((second, first), False)):
                continue
            split = [
                kept
                for group in groups
                for kept in ((group - {first}, group - {second}) if {first, second} <= group else (group,))
            ]
            groups = [
                group
                for k, group in enumerate(split)
                if not any(group < other or (group == other and k > j) for j, other in enumerate(split))
            ]
    place = {model: row for row, model in enumerate(lettered)}
    groups.sort(key=lambda group: sorted(place[model] for model in group))
    return {model: "".join(_letter(k) for k, group in enumerate(groups) if model in group) for model in order}


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + ("" if number < 26 else str(number // 26))
