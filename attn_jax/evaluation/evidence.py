"""All that predictions tell, in one object: numbers with intervals, comparisons, and what must be said beside them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from attn_jax.evaluation import comparing, delong, proportions, subgroups
from attn_jax.evaluation.cautions import cautions
from attn_jax.evaluation.comparing import Contest, Pair
from attn_jax.evaluation.equivalence import MARGIN
from attn_jax.evaluation.intervals import LEVEL, NO_INTERVAL, Interval
from attn_jax.evaluation.metrics import LOWER_IS_BETTER, evaluate
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import METHODS, REPLICATES, Numbers, resample
from attn_jax.evaluation.resampled import seeds as seeds_of
from attn_jax.evaluation.standard_error import StandardError
from attn_jax.evaluation.subgroups import Subgroups
from attn_jax.evaluation.trust import Trust, trust


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the numbers were made; all of it decides them, the seed of the resampling included."""

    baseline: str = ""
    metric: str = "auc"
    margin: float = MARGIN
    level: float = LEVEL
    replicates: int = REPLICATES
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Value:
    """A metric's mean over seeds (None: undefined, `reason` says why), that of each seed, and intervals of the mean.

    These are by name `"patients <method>"` and `"seeds and patients <method>"` of `resampled`, `"delong"`, `"wilson"`.
    `spread` holds the variances over seeds and over patients that add up to the mean's (None: one seed). `undefined`
    says why the value of a seed or an interval is None, or why there is none (`"intervals"`).
    """

    value: float | None
    sd: float | None
    seeds: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    reason: str = ""
    spread: StandardError | None = None
    undefined: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Model:
    """One model on one data set."""

    seeds: tuple[str, ...]
    metrics: Mapping[str, Value]
    trust: Trust
    subgroups: tuple[Subgroups, ...]


@dataclasses.dataclass(frozen=True)
class OnDataset:
    """The models that judged one data set's test images; models with a letter in common are not told apart,
    which is not equivalence. `controls` are models that are judged and compared with none."""

    dataset: str
    baseline: str
    images: int
    patients: int | None
    positives: int | None
    left_out: int
    models: Mapping[str, Model]
    contests: tuple[Contest, ...]
    pairs: tuple[Pair, ...]
    letters: Mapping[str, str]
    cautions: tuple[str, ...]
    controls: tuple[str, ...] = ()


def gather(
    sources: Sequence[tuple[str, Predictions]], settings: Settings = Settings(), *, common: bool = False
) -> tuple[OnDataset, ...]:
    """The evidence of predictions on each data set.

    Args:
        sources: where each model's predictions come from, for messages, and these.
        settings: a baseline without a name is `default_baseline`.
        common: compare on the images that all models of a data set have.

    Raises:
        UserError: models of a data set did not judge the same images, or the baseline is none of them.
    """
    found = panels(sources, common=common)
    settings = dataclasses.replace(settings, baseline=settings.baseline or default_baseline(found))
    return tuple(on_panel(panel, settings) for panel in found)


def on_panel(
    panel: Panel,
    settings: Settings,
    references: Mapping[str, str] | None = None,
    controls: Collection[str] = (),
) -> OnDataset:
    """The evidence of one panel.

    Args:
        panel: the models and what they predicted.
        settings: without a baseline `default_baseline` of this panel is.
        references: the baseline of each model to compare; without it one has them all.
        controls: models that are not to be compared with any.

    Raises:
        UserError: the panel has no such baseline.
    """
    baseline = panel.check(settings.baseline or default_baseline([panel]))
    if references is None:
        references = {model: baseline for model in panel.models if model not in (baseline, *controls)}
    measured = resample(panel, count=settings.replicates, seed=settings.seed)
    by_image = None
    if panel.patients not in (None, len(panel.image_id)):
        alone = dataclasses.replace(panel, cluster=np.arange(len(panel.image_id)))
        by_image = resample(alone, count=settings.replicates, seed=settings.seed)
    models = {
        name: Model(
            next(iter(measured[name].values())).seeds,
            {metric: _value(panel, name, metric, of, by_image, settings) for metric, of in measured[name].items()},
            trust(panel, name, level=settings.level, seed=settings.seed),
            _subgroups(panel, name, settings),
        )
        for name in panel.models
    }
    contests = comparing.against(
        panel, measured, references, settings.metric, margin=settings.margin, level=settings.level, seed=settings.seed
    )
    compared = [model for model in panel.models if model not in controls]
    pairs = comparing.all_pairs(panel, measured, compared, settings.metric, level=settings.level, seed=settings.seed)
    differs = {
        (of.first, of.second): None if of.adjusted[0] is None else of.adjusted[0] < 1 - settings.level for of in pairs
    }
    return OnDataset(
        panel.dataset,
        baseline,
        len(panel.image_id),
        panel.patients,
        panel.positives,
        panel.left_out,
        models,
        contests,
        pairs,
        dict.fromkeys(controls, "")
        | comparing.letters([of for of in ranked(models, settings.metric) if of in compared], differs),
        cautions(panel),
        tuple(controls),
    )


def default_baseline(of: Sequence[Panel]) -> str:
    """Among the models that all data sets have that without attention, where one is called so, or else the first; ""
    where they have none in common."""
    return first_baseline([model for model in of[0].models if all(model in panel.runs for panel in of)])


def first_baseline(models: Sequence[str]) -> str:
    """The one without attention, where it is called so, or else the first; "" without any."""
    return "none" if "none" in models else next(iter(models), "")


def ranked(models: Mapping[str, Model], metric: str) -> list[str]:
    """The models, best mean first, those without one last."""
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def place(name: str) -> float:
        value = models[name].metrics[metric].value
        return np.inf if value is None else sign * value

    return sorted(models, key=place)


def _subgroups(panel: Panel, model: str, settings: Settings) -> tuple[Subgroups, ...]:
    """By every column that parts the images into groups, the gaps' p adjusted over these."""
    found = [
        subgroups.by_column(
            panel,
            model,
            column,
            settings.metric,
            lower_is_better=settings.metric in LOWER_IS_BETTER,
            level=settings.level,
            count=settings.replicates,
            seed=settings.seed,
        )
        for column in subgroups.columns(panel)
    ]
    return tuple(of._replace(adjusted=p) for of, p in zip(found, holm([of.p for of in found]), strict=True))


def _value(
    panel: Panel,
    model: str,
    metric: str,
    of: Numbers,
    by_image: Mapping[str, Mapping[str, Numbers]] | None,
    settings: Settings,
) -> Value:
    seeds = {name: None if np.isnan(x) else float(x) for name, x in zip(of.seeds, of.point, strict=True)}
    if np.isnan(of.value):
        why = {seed: _reason(panel, model, seed, metric) for seed, value in seeds.items() if value is None}
        return Value(None, None, seeds, {}, next(iter(why.values())), undefined=why)
    sd = float(of.point.std(ddof=1)) if len(of.point) > 1 else None
    spread = of.of_all_seeds()
    if metric in NO_INTERVAL or of.patients < 2:
        why = {"intervals": NO_INTERVAL.get(metric, "all images show one patient: nothing tells how others would do")}
        return Value(of.value, sd, seeds, {}, spread=spread, undefined=why)
    level = settings.level
    intervals = of.intervals(metric, level)
    if by_image is not None:
        numbers = by_image[model][metric]
        intervals |= {f"images {method}": numbers.by_bootstrap(method, level) for method in METHODS}
    if metric == "auc" and panel.first.binary and panel.whole:
        intervals["delong"] = _delong(panel, model, level)
    if len(seeds) == 1 and panel.whole:
        intervals |= proportions.of_run(panel, next(iter(panel.runs[model].values())), metric, level)
    undefined = {
        name: "one class has too few images" if name == "delong" else "replicates are undefined, or on one side"
        for name, interval in intervals.items()
        if interval is None
    }
    return Value(of.value, sd, seeds, intervals, spread=spread, undefined=undefined)


def _reason(panel: Panel, model: str, seed: str, metric: str) -> str:
    """Why a metric of a seed is undefined."""
    for name in seeds_of(panel, model)[seed]:
        why = evaluate(panel.runs[model][name].test).undefined
        if metric in why:
            return why[metric]
    return "undefined on these test images"


def _delong(panel: Panel, model: str, level: float) -> Interval | None:
    """Of the mean AUC over seeds, patients as clusters."""
    test = panel.first
    scores = np.stack([run.test.score[:, test.positive] for run in panel.runs[model].values()])
    found = delong.areas(test.label == test.positive, scores, panel.cluster)
    mean = np.full(len(scores), 1 / len(scores))
    return delong.interval(float(mean @ found.auc), float(mean @ found.covariance @ mean), level)
