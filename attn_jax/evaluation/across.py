"""One verdict over all data sets: the models that judged every one of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_jax.evaluation import over_datasets
from attn_jax.evaluation.hierarchical import Posterior, Rope, posterior
from attn_jax.evaluation.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from attn_jax.evaluation.evidence import OnDataset, Settings

TAU_SCALES = (0.01, 0.05, 0.1)


@dataclasses.dataclass(frozen=True)
class Across:
    """Ranks and tests over data sets (`comparison`, columns as `models`), and for each model with the same reference
    on all of them, `references[model]`, what the next data set is to be expected to show.

    `posteriors` are of differences, positive is better. `chances` are those on the next data set under each of the
    priors' scales `TAU_SCALES`: few data sets do not tell how much data sets vary, and where these chances differ it is
    the prior that speaks.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    baseline: str
    comparison: over_datasets.Comparison
    posteriors: Mapping[str, Posterior]
    references: Mapping[str, str]
    chances: Mapping[str, Mapping[float, Rope]]

    @property
    def reference(self) -> str:
        """What the differences are to, in words."""
        return self.baseline if set(self.references.values()) <= {self.baseline} else "the baseline of each model"


def across(found: Sequence["OnDataset"], settings: "Settings") -> Across | str:
    """What is known over data sets, or why nothing is: fewer than two models with the metric on all of them, or a
    baseline that some lack. Of a single data set nothing needs saying: ""."""
    if len(found) < 2:
        return ""
    metric, baseline = settings.metric, found[0].baseline
    common = [name for name in found[0].models if all(_has(of, name, metric) for of in found)]
    if len(common) < 2:
        models = f"{len(common)} model has" if len(common) == 1 else f"{len(common)} models have"
        return f"{models} {metric} on all {len(found)} data sets, and two are needed"
    if baseline not in common or any(of.baseline != baseline for of in found):
        return f"no baseline has {metric} on all {len(found)} data sets; models that have: {', '.join(common)}"
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = np.array([[sign * _value(of, name, metric) for name in common] for of in found])
    compared = over_datasets.compare(values, baseline=common.index(baseline), alpha=1 - settings.level)
    posteriors, references, chances = {}, {}, {}
    for name, reference in dict.fromkeys((of.first, of.second) for of in found[0].contests if of.first in common):
        pair = [of for on in found for of in on.contests if (of.first, of.second) == (name, reference)]
        effects = [of.effects[metric] for of in pair]
        known = [(of.value, of.error) for of in effects if of.value is not None and of.error]
        if len(known) == len(found):
            value, error = np.array(known, dtype=np.float64).T
            references[name] = reference
            posteriors[name] = posterior(sign * value, error, rope=settings.margin)
            others = {
                scale: posterior(sign * value, error, rope=settings.margin, tau_scale=scale) for scale in TAU_SCALES
            }
            chances[name] = {scale: of.new_rope for scale, of in others.items() if of.new_rope is not None}
    names = tuple(of.dataset for of in found)
    return Across(tuple(common), names, baseline, compared, posteriors, references, chances)


def _has(of: "OnDataset", name: str, metric: str) -> bool:
    return name in of.models and name not in of.controls and of.models[name].metrics[metric].value is not None


def _value(of: "OnDataset", name: str, metric: str) -> float:
    value = of.models[name].metrics[metric].value
    assert value is not None
    return value
