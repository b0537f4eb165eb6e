"""All that predictions tell, in one object: numbers with intervals, comparisons, and what must be said beside them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from attn_jax.evaluation import comparing, delong, subgroups
from attn_jax.evaluation.comparing import Contest, Effect
from attn_jax.evaluation.equivalence import MARGIN
from attn_jax.evaluation.intervals import LEVEL, Interval, wilson
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import BY, METHODS, REPLICATES, Numbers, resample
from attn_jax.evaluation.subgroups import Subgroups
from attn_jax.evaluation.trust import Trust, trust

FEWEST_OF_A_KIND = 20
"""Patients with a positive (or negative) image below which docs/coverage.md shows intervals that miss too often."""
PROPORTIONS = ("accuracy", "sensitivity", "specificity")


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
    """A metric's mean over seeds (None: undefined, `reason` says why), that of each seed, and intervals of the mean by
    name: `"<what is drawn> <method>"` of the bootstrap, `"delong"`, `"wilson"`."""

    value: float | None
    sd: float | None
    seeds: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Model:
    """One model on one data set."""

    seeds: tuple[str, ...]
    metrics: Mapping[str, Value]
    trust: Trust
    subgroups: tuple[Subgroups, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two models in the primary metric, with Holm's p over all pairs."""

    first: str
    second: str
    effect: Effect
    adjusted: float | None


@dataclasses.dataclass(frozen=True)
class OnDataset:
    """The models that judged one data set's test images; models with a letter in common do not differ."""

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


def gather(
    sources: Sequence[tuple[str, Predictions]], settings: Settings = Settings(), *, common: bool = False
) -> tuple[OnDataset, ...]:
    """The evidence of predictions on each data set.

    Args:
        sources: where each model's predictions come from, for messages, and these.
        settings: a baseline without a name is the model `none`, or else the first.
        common: compare on the images that all models of a data set have.

    Raises:
        UserError: models of a data set did not judge the same images, or the baseline is none of them.
    """
    return tuple(on_panel(panel, settings) for panel in panels(sources, common=common))


def on_panel(panel: Panel, settings: Settings, references: Mapping[str, str] | None = None) -> OnDataset:
    """The evidence of one panel; `references` names the baseline of each model to compare: else one has them all."""
    baseline = panel.check(settings.baseline) if settings.baseline else default_baseline(panel)
    if references is None:
        references = {model: baseline for model in panel.models if model != baseline}
    measured = resample(panel, count=settings.replicates, seed=settings.seed)
    by_image = None
    if panel.patients not in (None, len(panel.image_id)):
        alone = dataclasses.replace(panel, cluster=np.arange(len(panel.image_id)))
        by_image = resample(alone, count=settings.replicates, seed=settings.seed)
    models = {
        name: Model(
            tuple(runs),
            {metric: _value(panel, name, metric, of, by_image, settings) for metric, of in measured[name].items()},
            trust(panel, name),
            tuple(
                subgroups.by_column(
                    panel,
                    name,
                    column,
                    settings.metric,
                    lower_is_better=settings.metric in LOWER_IS_BETTER,
                    level=settings.level,
                    count=settings.replicates,
                    seed=settings.seed,
                )
                for column in subgroups.columns(panel)
            ),
        )
        for name, runs in panel.runs.items()
    }
    contests = comparing.against(
        panel, measured, references, settings.metric, margin=settings.margin, level=settings.level, seed=settings.seed
    )
    effects, adjusted = comparing.all_pairs(panel, measured, settings.metric, level=settings.level)
    pairs = tuple(Pair(*of, p) for of, p in zip(effects, adjusted, strict=True))
    differs = {
        (pair.first, pair.second): pair.adjusted is not None and pair.adjusted < 1 - settings.level for pair in pairs
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
        comparing.letters(ranked(models, settings.metric), differs),
        cautions(panel),
    )


def default_baseline(panel: Panel) -> str:
    """The model without attention where one is called so, or else the first."""
    return "none" if "none" in panel.runs else panel.models[0]


def ranked(models: Mapping[str, Model], metric: str) -> list[str]:
    """The models, best mean first, those without one last."""
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def place(name: str) -> float:
        value = models[name].metrics[metric].value
        return np.inf if value is None else sign * value

    return sorted(models, key=place)


def cautions(panel: Panel) -> tuple[str, ...]:
    """What a reader must know before any number."""
    lines = []
    if panel.left_out:
        lines.append(f"{panel.left_out} test images that some models lack are left out.")
    if panel.patients is None:
        lines.append("No patients are named: each image counts as a patient of its own.")
    if panel.first.binary:
        positive = panel.label == panel.first.positive
        kinds = (("positive", positive), ("negative", ~positive))
        fewest, kind = min((len(set(panel.cluster[rows].tolist())), kind) for kind, rows in kinds)
        if fewest < FEWEST_OF_A_KIND:
            who = "images" if panel.patients is None else "patients"
            lines.append(
                f"{fewest} {who} with a {kind} label: intervals are too narrow, the bootstrap and DeLong's test find"
                " too much; the permutation test holds."
            )
    seeds = min(len(runs) for runs in panel.runs.values())
    if seeds == 1:
        lines.append(
            "One seed: intervals tell how far other patients would move the numbers, not how far retraining would."
        )
    elif seeds < 6:
        lines.append(f"{seeds} seeds: their spread is known roughly, and intervals that draw seeds are too narrow.")
    return tuple(lines)


def _value(
    panel: Panel,
    model: str,
    metric: str,
    of: Numbers,
    by_image: Mapping[str, Mapping[str, Numbers]] | None,
    settings: Settings,
) -> Value:
    seeds = {name: None if np.isnan(x) else float(x) for name, x in zip(panel.runs[model], of.point, strict=True)}
    if np.isnan(of.value):
        return Value(None, None, seeds, {}, "undefined on these test images")
    level = settings.level
    intervals = {f"{by} {method}": of.interval(by, method, level) for by in BY for method in METHODS}
    if by_image is not None:
        numbers = by_image[model][metric]
        intervals |= {f"images {method}": numbers.interval(BY[0], method, level) for method in METHODS}
    if metric == "auc" and panel.first.binary and panel.whole:
        intervals["delong"] = _delong(panel, model, level)
    if metric in PROPORTIONS and panel.first.binary and len(seeds) == 1 and panel.whole and by_image is None:
        intervals["wilson"] = _wilson(panel, model, metric, level)
    sd = float(of.point.std(ddof=1)) if len(of.point) > 1 else None
    return Value(of.value, sd, seeds, intervals)


def _delong(panel: Panel, model: str, level: float) -> Interval | None:
    """Of the mean AUC over seeds, patients as clusters."""
    test = panel.first
    scores = np.stack([run.test.score[:, test.positive] for run in panel.runs[model].values()])
    found = delong.areas(test.label == test.positive, scores, panel.cluster)
    mean = np.full(len(scores), 1 / len(scores))
    return delong.interval(float(mean @ found.auc), float(mean @ found.covariance @ mean), level)


def _wilson(panel: Panel, model: str, metric: str, level: float) -> Interval | None:
    (seed,) = panel.runs[model]
    right, truth = panel.runs[model][seed].right, panel.label == panel.first.positive
    rows = {"accuracy": np.ones_like(truth), "sensitivity": truth, "specificity": ~truth}[metric]
    return wilson(int(right[rows].sum()), int(rows.sum()), level)
