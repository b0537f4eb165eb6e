"""Net benefit against a plain loop, its limits, and what replicate weights must do."""

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation.decision_curve import decision_curve, pointwise_interval, replicate_curves


def loop(truth, score, thresholds, weight):
    """Net benefit of the model and of treating all, one threshold and one image at a time."""
    model, everyone = [], []
    for t in thresholds:
        benefit = all_benefit = 0.0
        for yes, s, w in zip(truth, score, weight, strict=True):
            gain = w if yes else -w * t / (1 - t)
            all_benefit += gain
            benefit += gain if s >= t else 0
        model.append(benefit / weight.sum())
        everyone.append(all_benefit / weight.sum())
    return np.array(model), np.array(everyone)


def make(seed, count=60):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 21, size=count) / 20  # some stand exactly at a threshold
    return rng, rng.uniform(size=count) < score, score


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_plain_loop(seed):
    _, truth, score = make(seed)
    thresholds = np.array([0, 0.05, 0.1, 0.25, 0.33, 0.5, 0.75, 0.95])
    found = decision_curve(truth, score, thresholds)
    model, treat_all = loop(truth, score, thresholds, np.ones(60))
    np.testing.assert_allclose(found.model, model, atol=1e-12)
    np.testing.assert_allclose(found.treat_all, treat_all, atol=1e-12)
    np.testing.assert_allclose(found.standardized, model / truth.mean(), atol=1e-12)
    assert found.model[0] == pytest.approx(truth.mean())


@pytest.mark.parametrize("whole", [True, False])
def test_weights_count_images(whole):
    rng, truth, score = make(5)
    thresholds = np.linspace(0.1, 0.9, 9)
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=4) if whole else rng.dirichlet(np.ones(60), size=4)
    found = replicate_curves(truth, score, weights, thresholds)
    for r in range(4):
        model, treat_all = loop(truth, score, thresholds, weights[r])
        np.testing.assert_allclose(found.model[r], model, atol=1e-12)
        np.testing.assert_allclose(found.treat_all[r], treat_all, atol=1e-12)
        np.testing.assert_allclose(found.standardized[r], model / np.average(truth, weights=weights[r]), atol=1e-12)
        if whole:
            repeated = decision_curve(np.repeat(truth, weights[r]), np.repeat(score, weights[r]), thresholds)
            np.testing.assert_allclose(found.model[r], repeated.model, atol=1e-12)


def test_a_perfect_model_reaches_the_prevalence_and_is_useful_everywhere():
    truth = np.arange(20) < 6
    found = decision_curve(truth, truth.astype(float))
    np.testing.assert_allclose(found.standardized, 1)
    assert found.useful == ((0.01, 0.99),)


def test_one_score_for_all_treats_all_or_none_and_is_never_useful():
    found = decision_curve(np.arange(30) % 3 == 0, np.full(30, 0.4))
    taken = found.threshold <= 0.4
    assert (found.model[taken] == found.treat_all[taken]).all() and (found.model[~taken] == 0).all()
    assert found.useful == ()


def test_ranges_where_the_model_beats_both():
    truth = np.array([True, True, True, False, False, False])
    score = np.array([0.95, 0.65, 0.05, 0.05, 0.35, 0.35])
    thresholds = np.array([0.04, 0.1, 0.3, 0.36, 0.7, 0.92])
    found = decision_curve(truth, score, thresholds)
    expected = [
        3 / 6 - 3 / 6 * 4 / 96,  # all are taken: the same as treating all
        2 / 6 - 2 / 6 / 9,  # treating all: 4/9
        2 / 6 - 2 / 6 * 3 / 7,  # treating all: 2/7
        2 / 6,
        1 / 6,
        1 / 6,
    ]
    np.testing.assert_allclose(found.model, expected)
    assert found.useful == ((0.36, 0.92),)
    gap = decision_curve(truth, np.array([0.95, 0.65, 0.25, 0.05, 0.3, 0.6]), np.array([0.1, 0.5, 0.62, 0.66, 0.96]))
    assert gap.useful == ((0.1, 0.66),)
    worse = decision_curve(truth, np.array([0.95, 0.2, 0.3, 0.1, 0.6, 0.7]), np.array([0.15, 0.55, 0.65, 0.8]))
    assert worse.useful == ((0.15, 0.15), (0.8, 0.8))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    thresholds = np.array([0.2, 0.5])
    big = rng.uniform(size=1_000_000)
    true = decision_curve(rng.uniform(size=big.size) < big, big, thresholds).model
    hits = []
    for _ in range(200):
        score = rng.uniform(size=200)
        truth = rng.uniform(size=200) < score
        replicates = replicate_curves(truth, score, rng.multinomial(200, np.full(200, 1 / 200), size=300), thresholds)
        low, high = pointwise_interval(replicates.model)
        hits.append((low <= true) & (true <= high))
    assert (np.abs(np.mean(hits, axis=0) - 0.95) < 0.045).all()


def test_interval_is_percentiles_of_what_is_defined():
    values = np.stack([np.arange(101.0), np.arange(101.0) ** 2], axis=1)
    with_gap = np.insert(values, 7, np.nan, axis=0)
    np.testing.assert_allclose(pointwise_interval(with_gap, level=0.9), [[5, 25], [95, 95**2]])
    assert np.isnan(pointwise_interval(np.full((3, 2), np.nan))).all()


def test_what_is_undefined():
    assert decision_curve(np.zeros(0, bool), np.zeros(0)) is None
    negatives = decision_curve(np.zeros(3, bool), np.array([0.1, 0.5, 0.9]))
    assert np.isnan(negatives.standardized).all() and negatives.useful == () and (negatives.model <= 0).all()
    positives = decision_curve(np.ones(3, bool), np.array([0.1, 0.5, 0.9]))
    assert positives.useful == () and (positives.treat_all == 1).all()
    weights = np.array([[0, 0, 0], [0, 1, 1], [1, 1, 0]])
    found = replicate_curves(np.array([True, False, False]), np.array([0.9, 0.5, 0.1]), weights, np.array([0.2, 0.6]))
    assert np.isnan(found.model).tolist() == [[True] * 2, [False] * 2, [False] * 2]
    assert np.isnan(found.standardized).tolist() == [[True] * 2, [True] * 2, [False] * 2]


@pytest.mark.parametrize(("thresholds", "words"), [([0.5, 1.0], "threshold probability 1 is"), ([-0.1], "-0.1")])
def test_impossible_thresholds(thresholds, words):
    with pytest.raises(UserError, match=words):
        decision_curve(np.array([True]), np.array([0.5]), np.array(thresholds))


def test_unsorted_thresholds():
    for thresholds in ([0.5, 0.2], [0.2, 0.2]):
        with pytest.raises(UserError, match="ascend"):
            decision_curve(np.array([True]), np.array([0.5]), np.array(thresholds))
