"""Means of many columns over the same images, and what they are in bootstrap replicates of the patients."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from attn_jax.evaluation import replicates
from attn_jax.evaluation.intervals import Interval, percentile


class Means(NamedTuple):
    """Each column's mean over the images that it knows, and the same in each replicate; NaN where it knows none."""

    point: Float[np.ndarray, "columns"]
    drawn: Float[np.ndarray, "replicates columns"]

    def over(self, columns: Int[np.ndarray, "some"]) -> tuple[float, Interval | None]:
        """The mean of the means of some columns (those that have one), and its percentile interval.

        No interval where fewer than two patients could be drawn.
        """
        means = self._over(columns)
        return float(means[0]), percentile(means[1:])

    def difference(
        self, columns: Int[np.ndarray, "some"], others: Int[np.ndarray, "others"]
    ) -> tuple[float, Interval | None]:
        """The same of the mean over some columns less that over others, in each replicate of the same patients."""
        means = self._over(columns) - self._over(others)
        return float(means[0]), percentile(means[1:])

    def _over(self, columns: Int[np.ndarray, "some"]) -> Float[np.ndarray, "1+replicates"]:
        of = np.vstack([self.point[columns], self.drawn[:, columns]])
        known = ~np.isnan(of)
        count = known.sum(axis=1)
        return np.where(count > 0, np.where(known, of, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def weighted_means(
    values: Float[np.ndarray, "images columns"], cluster: Int[np.ndarray, "images"], count: int, seed: int = 0
) -> Means:
    """Means of columns (NaN: unknown) in `count` replicates, in each of which all columns see the same patients.

    Args:
        values: a column for each thing that was measured on some of the images.
        cluster: the number of each image's patient, from 0 (see `replicates.clusters`).
        count: replicates.
        seed: equal seeds draw equal replicates.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)

    def mean(weights: Float[np.ndarray, "rows images"]) -> Float[np.ndarray, "rows columns"]:
        total = weights @ known.astype(np.float64)
        return np.where(total > 0, weights @ filled / np.where(total > 0, total, 1), np.nan)

    drawn = np.full((count, values.shape[1]), np.nan)
    if cluster.max() > 0:
        for rows, weights in replicates.draws(np.random.default_rng(seed), cluster, count):
            drawn[rows] = mean(weights)
    return Means(mean(np.ones((1, len(values))))[0], drawn)
