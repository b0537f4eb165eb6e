"""Means of columns in replicates, against plain loops over the drawn images."""

import math

import numpy as np
import pytest

from attn_jax.evaluation import replicates
from attn_jax.evaluation.weighted_means import weighted_means


def test_replicates_are_means_of_the_drawn_images():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 4))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 3] = np.nan
    cluster = replicates.clusters(np.array([f"p{i // 3}" for i in rng.permutation(30)]), 30)
    found = weighted_means(values, cluster, 40, seed=5)
    np.testing.assert_allclose(found.point[:3], np.nanmean(values[:, :3], axis=0))
    assert np.isnan(found.point[3]) and np.isnan(found.drawn[:, 3]).all()
    means = []
    for rows, weights in replicates.draws(np.random.default_rng(5), cluster, 40):
        for row, of in zip(range(rows.start, rows.stop), weights, strict=True):
            drawn = values[np.repeat(np.arange(30), of.astype(int))]
            for column in range(3):
                known = [value for value in drawn[:, column] if not math.isnan(value)]
                assert found.drawn[row, column] == pytest.approx(sum(known) / len(known), abs=1e-12)
            means.append(np.nanmean(drawn[:, [0, 2]], axis=0).mean())
    value, interval = found.over(np.array([0, 2, 3]))
    assert value == pytest.approx(found.point[[0, 2]].mean())
    assert interval is not None and interval[:2] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_one_patient_has_no_interval_and_no_value_none():
    values = np.array([[1.0, np.nan], [2.0, np.nan]])
    found = weighted_means(values, np.zeros(2, int), 20)
    assert found.over(np.array([0])) == (1.5, None)
    value, interval = weighted_means(values, np.arange(2), 20).over(np.array([1]))
    assert math.isnan(value) and interval is None
