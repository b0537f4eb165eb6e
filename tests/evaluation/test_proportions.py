"""Shares with Wilson's interval: scipy's where images are independent, and wider as they repeat one another."""

import numpy as np
import pytest
from scipy import stats

from attn_jax.evaluation.proportions import clustered, wilson


def test_wilson_is_scipys_for_whole_counts():
    low, high = wilson(np.array([0.0, 0.3, 1.0, np.nan]), np.array([4, 10, 7, 0]), 0.95)
    for k, (hits, count) in enumerate([(0, 4), (3, 10), (7, 7)]):
        expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert (low[k], high[k]) == pytest.approx(tuple(expected), abs=1e-12)
    assert np.isnan(low[3]) and np.isnan(high[3])


def test_a_published_example_and_no_image():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263.
    assert clustered(np.arange(263) < 81, np.arange(263))[:2] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert clustered(np.zeros(0, bool), np.zeros(0, int)) is None


def test_images_of_their_own_patients_are_independent():
    hit = np.array([True, False, True, True, False, True])
    expected = stats.binomtest(4, 6).proportion_ci(0.95, method="wilson")
    assert clustered(hit, np.arange(6))[:2] == pytest.approx(tuple(expected), abs=1e-12)


def test_the_same_image_again_tells_nothing_new():
    rng = np.random.default_rng(0)
    hit = rng.uniform(size=60) < 0.8
    again = clustered(np.repeat(hit, 5), np.repeat(np.arange(60), 5))
    # Of 60 patients; the linearised variance has patients / (patients - 1) more, and t stands for the normal.
    share, count, reach = hit.mean(), 59.0, stats.t.isf(0.025, 59)
    middle, spread = share + reach**2 / (2 * count), share * (1 - share) / count + reach**2 / (4 * count**2)
    ends = [(middle + side * reach * np.sqrt(spread)) / (1 + reach**2 / count) for side in (-1, 1)]
    assert again[:2] == pytest.approx(ends, abs=1e-12)
    every = clustered(np.ones(300, bool), np.repeat(np.arange(60), 5))
    assert every[:2] == pytest.approx(clustered(np.ones(60, bool), np.arange(60))[:2])


@pytest.mark.parametrize("patients", [4, 8, 20])
def test_few_patients_are_not_taken_for_many(patients):
    rng = np.random.default_rng(patients)
    held = []
    for _ in range(500):
        own = rng.beta(4.9, 2.1, size=(patients, 1))
        hit = (rng.uniform(size=(patients, 20)) < own).ravel()
        interval = clustered(hit, np.repeat(np.arange(patients), 20))
        held.append(interval.low <= 0.7 <= interval.high)
    # With the normal quantile 82 % hold of three patients, 91 % of ten; of 500 fewer than 92 % happen once in 500.
    assert np.mean(held) >= 0.92


def test_one_patient_and_no_image_have_none():
    assert clustered(np.array([True, False]), np.zeros(2, int)) is None
    assert clustered(np.zeros(0, bool), np.zeros(0, int)) is None
