"""The models of a panel against a baseline, and each against each: effects first, then intervals, then tests."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from attn_jax.evaluation import delong, power
from attn_jax.evaluation.equivalence import MARGIN, Equivalence, judge
from attn_jax.evaluation.intervals import LEVEL, Interval
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.paired_tests import Test, mcnemar, permutation, wilcoxon
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.power import Needed, NeededForMargin
from attn_jax.evaluation.resampled import BY, METHODS, Numbers, paired

Measured = Mapping[str, Mapping[str, Numbers]]


@dataclasses.dataclass(frozen=True)
class Effect:
    """First minus second in one metric, over the seeds that both have.

    `standardised` is the mean difference over its standard deviation over seeds (Cohen's d of pairs). `error` is the
    standard deviation of the bootstrap over patients and, with several seeds, over seeds, and `p` that of its test;
    `patients_error` is over patients alone.
    """

    metric: str
    value: float | None
    seeds: tuple[float, ...]
    sd: float | None
    standardised: float | None
    error: float | None
    patients_error: float | None
    p: float | None
    intervals: Mapping[str, Interval | None]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Needs:
    """How many seeds and patients would have told the observed difference from none, or one of the margin's size, or
    shown that there is none larger than the margin."""

    seeds: Needed
    patients: Needed
    noninferiority: NeededForMargin
    equivalence: NeededForMargin


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


def effect(numbers: Numbers | None, metric: str, level: float = LEVEL) -> Effect:
    """A difference with its intervals and the test of the paired cluster bootstrap.

    p is the share of replicates that lie as far from the difference as the difference lies from 0, (1 + hits) /
    (1 + replicates).
    """
    if numbers is None:
        return Effect(metric, None, (), None, None, None, None, None, {}, "no seed in common")
    value, seeds = numbers.value, numbers.point
    if np.isnan(value):
        return Effect(metric, None, tuple(seeds.tolist()), None, None, None, None, None, {}, "undefined")
    by = BY[-1] if len(seeds) > 1 else BY[0]
    replicated = numbers.replicates(by)
    replicated = replicated[~np.isnan(replicated)]
    hits = int((np.abs(replicated - value) >= abs(value) - 1e-12).sum())
    sd = float(seeds.std(ddof=1)) if len(seeds) > 1 else None
    intervals = {f"{by} {method}": numbers.interval(by, method, level) for by in BY for method in METHODS}
    return Effect(
        metric,
        value,
        tuple(seeds.tolist()),
        sd,
        value / sd if sd else None,
        float(replicated.std(ddof=1)) if len(replicated) > 1 else None,
        _sd(numbers.replicates(BY[0])),
        (1 + hits) / (1 + len(replicated)) if len(replicated) else None,
        intervals,
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
    effects, tests = [], []
    for model, baseline in references.items():
        of = {name: effect(paired(panel, measured, model, baseline, name), name, level) for name in measured[model]}
        effects.append(of)
        tests.append(_tests(panel, model, baseline, metric, of[metric], seed))
    families = [holm([run[k].p for run in tests]) for k in range(len(tests[0]))] if tests else []
    return tuple(
        Contest(
            model,
            baseline,
            of,
            tuple(run),
            tuple(family[row] for family in families),
            _judged(of[metric], margin, level),
            needs(of[metric], int(panel.cluster.max()) + 1, margin),
        )
        for row, ((model, baseline), of, run) in enumerate(zip(references.items(), effects, tests, strict=True))
    )


def needs(of: Effect, patients: int, margin: float) -> Needs:
    """Sample sizes for 80 % power at 5 %, from the spread that was seen with so many patients."""
    signed = None if of.value is None else -of.value if of.metric in LOWER_IS_BETTER else of.value
    return Needs(
        power.seeds(of.value, of.sd, len(of.seeds), margin),
        power.patients(of.value, of.patients_error, patients, margin),
        power.patients_for_noninferiority(of.patients_error, patients, margin, expected=signed or 0.0),
        power.patients_for_equivalence(of.patients_error, patients, margin, expected=signed or 0.0),
    )


def _sd(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def _judged(of: Effect, margin: float, level: float) -> Equivalence | None:
    if of.value is None or of.error is None:
        return None
    return judge(-of.value if of.metric in LOWER_IS_BETTER else of.value, of.error, margin, level)


def _tests(panel: Panel, first: str, second: str, metric: str, of: Effect, seed: int) -> list[Test]:
    shared = panel.shared(first, second)
    found = [Test("bootstrap", of.p, of.reason)]
    if metric == "auc":
        compared = delong_difference(panel, first, second)
        reason = "" if compared else "for the AUC of two classes with two images of each, judged by all runs"
        found.append(Test("DeLong", compared.p if compared else None, reason))
    found.append(permutation(panel, first, second, metric, seed=seed))
    if shared and panel.first.kind == "single":
        runs = [[panel.runs[model][seed] for seed in shared] for model in (first, second)]
        one, other = (np.concatenate([run.right for run in of]) for of in runs)
        found.append(mcnemar(one, other, np.concatenate([run.seen(panel.cluster) for run in runs[0]])))
    else:
        found.append(Test("McNemar", None, "for one decision an image" if shared else "no seed in common"))
    found.append(wilcoxon(np.array(of.seeds)) if of.seeds else Test("Wilcoxon over seeds", None, of.reason))
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
    panel: Panel, measured: Measured, metric: str, *, level: float = LEVEL
) -> tuple[list[tuple[str, str, Effect]], list[float | None]]:
    """The effect of each model less each later one, and Holm's p of the bootstrap test over all pairs."""
    models = panel.models
    pairs = [(first, second) for row, first in enumerate(models) for second in models[row + 1 :]]
    effects = [
        (first, second, effect(paired(panel, measured, first, second, metric), metric, level))
        for first, second in pairs
    ]
    return effects, holm([of.p for _, _, of in effects])


def letters(order: Sequence[str], differs: Mapping[tuple[str, str], bool]) -> dict[str, str]:
    """Significance letters: two models share a letter when they do not differ (Piepho 2004, doi 10.1198/1061860043515).

    Args:
        order: the models, best first; `a` goes to the best.
        differs: whether two models, in any order of the pair, differ significantly.
    """
    groups = [set(order)]
    for first in order:
        for second in order:
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
    place = {model: row for row, model in enumerate(order)}
    groups.sort(key=lambda group: sorted(place[model] for model in group))
    return {model: "".join(_letter(k) for k, group in enumerate(groups) if model in group) for model in order}


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + ("" if number < 26 else str(number // 26))
