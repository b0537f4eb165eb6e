"""Every model of a panel under the same bootstrap replicates, so that differences are paired and cost nothing more."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attn_jax.evaluation import replicates
from attn_jax.evaluation.intervals import LEVEL, LIMITS, Interval, bca, percentile
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.standard_error import StandardError, over_both, over_patients
from attn_jax.evaluation.weighted import Judged

REPLICATES = 1000
METHODS = ("percentile", "bca")
PATIENTS, SEEDS_AND_PATIENTS = "patients logit t", "seeds and patients logit t"
"""Intervals of a metric by t, on the logit scale: `StandardError.within`."""
FOLD = ", fold "
"""Between the seed and the fold in the name of a run that is one fold of several."""


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """One metric of one model, or a difference of two: for each seed its value, its replicates over patients, and its
    values without one patient.

    `sizes` groups the seeds: what is meant is the sum over groups of the mean over the group's seeds. A model, and a
    difference between the same seeds of two, is one group; that of models without a common seed is two, the second
    negated. Where nothing names patients, each image is one of the `patients`. The folds of a seed, whose patients
    differ, are one value: their mean.
    """

    seeds: tuple[str, ...]
    point: Float[np.ndarray, "seeds"]
    drawn: Float[np.ndarray, "seeds replicates"]
    without: Float[np.ndarray, "seeds patients"]
    patients: int
    sizes: tuple[int, ...]

    @property
    def value(self) -> float:
        """Its mean over seeds; NaN where a seed's is undefined."""
        return float(self._weight @ self.point)

    @property
    def replicates(self) -> Float[np.ndarray, "replicates"]:
        """The mean over seeds in each replicate of the patients."""
        return self._weight @ self.drawn

    @property
    def _weight(self) -> np.ndarray:
        return np.concatenate([np.full(size, 1 / size) for size in self.sizes])

    def minus(self, other: "Numbers") -> "Numbers":
        """The difference to another model: seed by seed where both have the same, or else of the means."""
        if self.seeds == other.seeds:
            own = (self.point - other.point, self.drawn - other.drawn, self.without - other.without)
            return Numbers(self.seeds, *own, self.patients, self.sizes)
        both = zip((self.point, self.drawn, self.without), (other.point, other.drawn, other.without), strict=True)
        point, drawn, without = (np.concatenate([one, -two]) for one, two in both)
        return Numbers(self.seeds + other.seeds, point, drawn, without, self.patients, self.sizes + other.sizes)

    def of(self, seeds: tuple[str, ...]) -> "Numbers":
        """Some of its seeds, in this order."""
        rows = np.array([self.seeds.index(seed) for seed in seeds])
        return Numbers(seeds, self.point[rows], self.drawn[rows], self.without[rows], self.patients, (len(seeds),))

    def of_these_seeds(self) -> StandardError | None:
        """The standard error over patients, seeds as they are; None where it is undefined."""
        part = over_patients(self.drawn, self.sizes, self.patients)
        return None if part is None else StandardError((), part, float(np.isnan(self.replicates).mean()))

    def of_all_seeds(self) -> StandardError | None:
        """The standard error over seeds and patients; None where it is undefined, and of single seeds."""
        return over_both(self.point, self.drawn, self.sizes, self.patients)

    def by_bootstrap(self, method: str, level: float = LEVEL) -> Interval | None:
        """The interval over patients by percentiles or BCa (`METHODS`); None where it does not exist."""
        values = self.replicates
        if method == "percentile":
            return percentile(values, level)
        influence = self._weight @ self.without
        return bca(values, self.value, influence, level)

    def by_hierarchical_bootstrap(self, method: str, level: float = LEVEL) -> Interval | None:
        """The same of replicates that draw seeds and patients, both with replacement, each group's seeds by itself.

        The replicates spread more than the mean does: what is each seed's own noise of its patients counts twice (Owen
        2007, doi 10.1214/07-AOAS122); and of two or three seeds less than seeds do, as any bootstrap of so few.
        """
        rng = np.random.default_rng(self.drawn.shape)
        values, alone = np.zeros(self.drawn.shape[1]), [self._weight @ self.without]
        for start, size in zip(np.cumsum((0, *self.sizes[:-1])), self.sizes, strict=True):
            picked = start + rng.integers(0, size, size=(size, len(values)))
            values += np.take_along_axis(self.drawn, picked, axis=0).mean(axis=0)
            if size > 1:
                own = self.point[start : start + size]
                alone.append((own.sum() - own) / (size - 1))
        if method == "percentile":
            return percentile(values, level)
        return bca(values, self.value, np.concatenate([of - np.nanmean(of) for of in alone if len(of)]), level)

    def intervals(self, metric: str, level: float = LEVEL) -> dict[str, Interval | None]:
        """Those of a model's metric by name: over patients, and with several seeds also over these."""
        limits = LIMITS.get(metric, (0.0, 1.0))
        found = {f"patients {method}": self.by_bootstrap(method, level) for method in METHODS}
        errors = {PATIENTS: self.of_these_seeds()}
        if len(self.seeds) > 1:
            found |= {f"seeds and patients {of}": self.by_hierarchical_bootstrap(of, level) for of in METHODS}
            errors[SEEDS_AND_PATIENTS] = self.of_all_seeds()
        found |= {name: error.within(self.value, limits, level) if error else None for name, error in errors.items()}
        return found


def resample(
    panel: Panel, *, count: int = REPLICATES, seed: int = 0, ordinal: bool = False
) -> dict[str, dict[str, Numbers]]:
    """`[model][metric]`: the metrics of `metrics.METRICS` of every run, in `count` replicates.

    All models see the same replicates of the panel's patients.
    """
    judges = {
        (model, name): _on_panel(Judged(run.test, run.thresholds, ordinal=ordinal), run)
        for model, runs in panel.runs.items()
        for name, run in runs.items()
    }
    left_out = list(replicates.left_out(panel.cluster))
    drawn = replicates.judge_all(judges, replicates.draws(np.random.default_rng(seed), panel.cluster, count), count)
    without = replicates.judge_all(judges, iter(left_out), left_out[-1][0].stop)
    patients = int(panel.cluster.max()) + 1
    found = {}
    for model, runs in panel.runs.items():
        of: dict[str, Mapping[str, tuple[np.ndarray, ...]]] = {}
        for name in runs:
            whole = judges[model, name](np.ones((1, len(panel.image_id))))
            replicated, jackknife = drawn[model, name], without[model, name]
            of[name] = {metric: (value[0], replicated[metric], jackknife[metric]) for metric, value in whole.items()}
        names = seeds(panel, model)
        found[model] = {metric: _by_seed(of, names, metric, patients) for metric in next(iter(of.values()))}
    return found


def _by_seed(
    of: Mapping[str, Mapping[str, tuple[np.ndarray, ...]]],
    names: Mapping[str, tuple[str, ...]],
    metric: str,
    patients: int,
) -> Numbers:
    """The mean over the folds of each seed."""
    point, drawn, without = (
        np.stack([np.mean([of[run][metric][k] for run in folds], axis=0) for folds in names.values()]) for k in range(3)
    )
    return Numbers(tuple(names), point, drawn, without, patients, (len(names),))


def _on_panel(judged: Judged, run: Run) -> replicates.Statistic:
    return lambda weights: judged(run.seen(weights))


def seeds(panel: Panel, model: str) -> dict[str, tuple[str, ...]]:
    """The names of a model's runs by seed: one, or those of its folds."""
    found: dict[str, tuple[str, ...]] = {}
    for name in panel.runs[model]:
        seed = name.partition(FOLD)[0]
        found[seed] = (*found.get(seed, ()), name)
    return found


def paired(
    panel: Panel, found: Mapping[str, Mapping[str, Numbers]], first: str, second: str, metric: str
) -> Numbers | None:
    """First minus second over the seeds that pair them (`Panel.shared`), or without any the difference of their means.

    Folds must be the same in both; None where no seeds pair models that were judged on parts of the images.
    """
    one, two = (seeds(panel, model) for model in (first, second))
    pairing = set(panel.shared(first, second))
    shared = tuple(seed for seed, folds in one.items() if pairing >= set(folds) == set(two.get(seed, ())))
    if shared:
        return found[first][metric].of(shared).minus(found[second][metric].of(shared))
    if any(run.rows is not None for model in (first, second) for run in panel.runs[model].values()):
        return None
    return found[first][metric].minus(found[second][metric])
