"""Every model of a panel under the same bootstrap replicates, so that differences are paired and cost nothing more."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from attn_jax.evaluation import replicates
from attn_jax.evaluation.intervals import LEVEL, Interval, bca, percentile
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.weighted import Judged

REPLICATES = 1000
BY = ("patients", "seeds and patients")
METHODS = ("percentile", "bca")
OF_VALUES, OF_DIFFERENCES = "bca", "percentile"
"""Which of them is shown, by how often they hold the truth in docs/coverage.md."""


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """One metric of one model, or a difference of two: for each seed its value, its replicates over patients, and its
    values without one patient; and how often each seed is drawn when seeds are drawn, too.

    Where nothing names patients, each image is a patient.
    """

    point: Float[np.ndarray, "seeds"]
    drawn: Float[np.ndarray, "seeds replicates"]
    without: Float[np.ndarray, "seeds patients"]
    seeds: Float[np.ndarray, "replicates seeds"]

    @property
    def value(self) -> float:
        """Its mean over seeds; NaN where a seed's is undefined."""
        return float(self.point.mean())

    def minus(self, other: "Numbers") -> "Numbers":
        """The difference to the same seeds of another model."""
        return Numbers(self.point - other.point, self.drawn - other.drawn, self.without - other.without, self.seeds)

    def of(self, rows: Int[np.ndarray, "some"], seeds: Float[np.ndarray, "replicates some"]) -> "Numbers":
        """Some of its seeds."""
        return Numbers(self.point[rows], self.drawn[rows], self.without[rows], seeds)

    def replicates(self, by: str) -> Float[np.ndarray, "replicates"]:
        """The mean over seeds in each replicate: the seeds as they are (`"patients"`), or drawn, too."""
        if by == "patients":
            return self.drawn.mean(axis=0)
        # A seed that was not drawn must not make the mean undefined.
        part = np.where(self.seeds.T > 0, self.drawn, 0) * self.seeds.T
        return part.sum(axis=0) / self.seeds.sum(axis=1)

    def interval(self, by: str, method: str, level: float = LEVEL) -> Interval | None:
        """The bootstrap interval of the mean over seeds; None where it does not exist."""
        values = self.replicates(by)
        if method == "percentile":
            return percentile(values, level)
        influence = self.without.mean(axis=0)
        influence = influence - np.nanmean(influence) if np.isfinite(influence).any() else influence
        if by != "patients" and len(self.point) > 1:
            # The mean without one seed moves by this much; both kinds of influence share one scale: that of a mean.
            spread = (self.value - self.point) / len(self.point)
            influence = np.concatenate([influence, spread])
        return bca(values, self.value, influence, level)


def resample(
    panel: Panel, *, count: int = REPLICATES, seed: int = 0, ordinal: bool = False
) -> dict[str, dict[str, Numbers]]:
    """`[model][metric]`: the metrics of `metrics.METRICS` of every run, in `count` replicates.

    All models see the same replicates of the panel's patients. Where seeds are drawn, one fewer is drawn than there are
    (Rao and Wu 1988, doi 10.1080/01621459.1988.10478591): as many would show the variance of their mean too small by
    1 / seeds. Models with the same seeds draw the same ones.
    """
    found = {}
    left_out = list(replicates.left_out(panel.cluster))
    without = left_out[-1][0].stop
    for model, runs in panel.runs.items():
        values: list[Mapping[str, np.ndarray]] = []
        for run in runs.values():
            judged = _on_panel(Judged(run.test, run.thresholds, ordinal=ordinal), run)
            whole = {name: of[0] for name, of in judged(np.ones((1, len(panel.image_id)))).items()}
            drawn = replicates.judge(judged, replicates.draws(np.random.default_rng(seed), panel.cluster, count), count)
            jackknife = replicates.judge(judged, iter(left_out), without)
            values.append({name: (whole[name], drawn[name], jackknife[name]) for name in whole})
        draws = seed_draws(tuple(runs), count, seed)
        found[model] = {
            name: Numbers(
                np.stack([of[name][0] for of in values]),
                np.stack([of[name][1] for of in values]),
                np.stack([of[name][2] for of in values]),
                draws,
            )
            for name in values[0]
        }
    return found


def _on_panel(judged: Judged, run: Run) -> replicates.Statistic:
    return lambda weights: judged(run.seen(weights))


def seed_draws(seeds: tuple[str, ...], count: int, seed: int) -> Float[np.ndarray, "replicates seeds"]:
    """How often each of the seeds is drawn, one fewer than there are (a single one: always)."""
    if len(seeds) == 1:
        return np.ones((count, 1))
    rng = np.random.default_rng([seed, len(seeds)])
    return rng.multinomial(len(seeds) - 1, np.full(len(seeds), 1 / len(seeds)), size=count).astype(np.float64)


def paired(
    panel: Panel, found: Mapping[str, Mapping[str, Numbers]], first: str, second: str, metric: str
) -> Numbers | None:
    """First minus second over the seeds that both have; None where they share none."""
    shared = panel.shared(first, second)
    if not shared:
        return None
    sides = []
    for model in (first, second):
        numbers, names = found[model][metric], list(panel.runs[model])
        draws = seed_draws(shared, len(numbers.seeds), 0)
        sides.append(numbers.of(np.array([names.index(seed) for seed in shared]), draws))
    return sides[0].minus(sides[1])
