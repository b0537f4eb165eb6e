"""The numbers of the saliency scorecard: means with intervals, and how far a method lies beyond what knows nothing."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.replicates import clusters
from attn_jax.evaluation.weighted_means import Means, weighted_means
from attn_jax.explain.scorecard import BASELINES

REPLICATES = 1000
REPAIRED, RANDOMISED = "/repaired", "randomised_"
KNOW_NOTHING = tuple(name for name in BASELINES if name != "segmentation")


class Number(NamedTuple):
    """A mean over the images of each run, then over the runs, its interval over patients, and how many images have a
    value in any of the runs; `against` names what a difference is to."""

    value: float
    interval: Interval | None
    images: int
    against: str = ""


class _Metric(NamedTuple):
    means: Means
    columns: pd.MultiIndex
    known: np.ndarray


class Numbers:
    """What is in `scores` (see `Contents.scores`); all rows of a metric see the same replicates of the patients."""

    def __init__(self, scores: pd.DataFrame) -> None:
        self.scores = _after_all_layers(scores)
        self.metrics, methods = (frozenset(self.scores[name].unique()) for name in ("metric", "method"))
        self.methods = [name for name in self.scores["method"].unique() if name not in BASELINES]
        self.baselines = [name for name in BASELINES if name in methods]
        self.keys = list(self.scores["key"].unique())
        self._metric = functools.cache(self._drawn)

    def mean(self, metric: str, method: str, keys: Sequence[str]) -> Number | None:
        """A method's mean over some runs, None where it was not scored by this metric."""
        of = self._metric(metric)
        columns = _columns(of, method, keys)
        return Number(*of.means.over(columns), _images(of, columns)) if len(columns) else None

    def beyond(self, metric: str, method: str, keys: Sequence[str], *, higher: bool) -> Number | None:
        """How much better a method is than the best map that knows nothing, on the same images and runs.

        None where one of both was not scored.
        """
        of = self._metric(metric)
        columns = _columns(of, method, keys)
        others = {name: _columns(of, name, keys) for name in KNOW_NOTHING}
        means = {name: of.means.over(places)[0] for name, places in others.items() if len(places)}
        means = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        if not len(columns) or not means:
            return None
        best = (max if higher else min)(means, key=means.__getitem__)
        pair = (columns, others[best]) if higher else (others[best], columns)
        return Number(*of.means.difference(*pair), _images(of, columns), best)

    def repaired(self, metric: str, method: str, keys: Sequence[str]) -> float:
        """The mean similarity of maps of different images."""
        part = self.scores[(self.scores["metric"] == f"{metric}{REPAIRED}") & (self.scores["method"] == method)]
        return float(part[part["key"].isin(keys)].groupby("key")["value"].mean().mean())

    def images(self, metric: str) -> int:
        """How many images were scored by a metric."""
        return int(self.scores.loc[self.scores["metric"] == metric, "image_id"].nunique())

    def _drawn(self, metric: str) -> _Metric:
        part = self.scores[self.scores["metric"] == metric]
        table = part.pivot(index="image_id", columns=["method", "key"], values="value")
        group = part.drop_duplicates("image_id").set_index("image_id")["group"].loc[table.index].to_numpy()
        values = table.to_numpy(dtype=float)
        means = weighted_means(values, clusters(group, len(group)), REPLICATES)
        return _Metric(means, table.columns, ~np.isnan(values))


def _columns(of: _Metric, method: str, keys: Sequence[str]) -> Int[np.ndarray, "some"]:
    found = [of.columns.get_loc((method, key)) for key in keys if (method, key) in of.columns]
    return np.array(found, dtype=np.intp)


def _images(of: _Metric, columns: Int[np.ndarray, "some"]) -> int:
    return int(of.known[:, columns].any(axis=1).sum())


def _after_all_layers(known: pd.DataFrame) -> pd.DataFrame:
    """Of what was measured after each layer was randomised the last, when all were, without the layer's name."""
    names = [name for name in known["metric"].unique() if name.startswith(RANDOMISED) and not name.endswith(REPAIRED)]
    steps = known["metric"].isin(names)
    parts = known[steps].assign(measure=known.loc[steps, "metric"].map({name: name.split("/")[0] for name in names}))
    last = parts.groupby(["key", "method", "measure"], sort=False)["metric"].transform("last")
    kept = parts[parts["metric"] == last]
    return pd.concat([known[~steps], kept.assign(metric=kept["measure"])[known.columns]], ignore_index=True)
