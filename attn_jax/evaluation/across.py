"""One verdict over all data sets: the models that judged every one of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_jax.evaluation import over_datasets
from attn_jax.evaluation.hierarchical import Posterior, posterior
from attn_jax.evaluation.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from attn_jax.evaluation.evidence import OnDataset, Settings


@dataclasses.dataclass(frozen=True)
class Across:
    """Ranks and tests over data sets (`comparison`, columns as `models`), and for each model but the baseline what the
    next data set is to be expected to show (`posteriors`: differences, positive is better)."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    baseline: str
    comparison: over_datasets.Comparison
    posteriors: Mapping[str, Posterior]


def across(found: Sequence["OnDataset"], settings: "Settings") -> Across | None:
    """None where fewer than two data sets have two models in common, or their baselines differ."""
    if len(found) < 2:
        return None
    metric, baseline = settings.metric, found[0].baseline
    common = [name for name in found[0].models if all(_has(of, name, metric) for of in found)]
    if len(common) < 2 or baseline not in common or any(of.baseline != baseline for of in found):
        return None
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = np.array([[sign * _value(of, name, metric) for name in common] for of in found])
    compared = over_datasets.compare(values, baseline=common.index(baseline), alpha=1 - settings.level)
    posteriors = {}
    for name in common:
        effects = [contest.effects[metric] for of in found for contest in of.contests if contest.first == name]
        known = [(of.value, of.error) for of in effects if of.value is not None and of.error]
        if name != baseline and len(known) == len(found):
            value, error = np.array(known, dtype=np.float64).T
            posteriors[name] = posterior(sign * value, error, rope=settings.margin)
    return Across(tuple(common), tuple(of.dataset for of in found), baseline, compared, posteriors)


def _has(of: "OnDataset", name: str, metric: str) -> bool:
    return name in of.models and of.models[name].metrics[metric].value is not None


def _value(of: "OnDataset", name: str, metric: str) -> float:
    value = of.models[name].metrics[metric].value
    assert value is not None
    return value
