"""Risk-coverage curves and their area against plain loops, random orders, repeated images and closed forms."""

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation.selective import (
    accuracy_at_coverage,
    aurc,
    best_aurc,
    distance_to_threshold,
    excess_aurc,
    replicate_aurc,
    risk_at_coverage,
    risk_coverage,
    top_probability,
)


def loop(error, confidence):
    """Expected risk of the k surest images, k = 1 .. n, ties in part."""
    risks = []
    for k in range(1, len(error) + 1):
        limit = sorted(confidence, reverse=True)[k - 1]
        above = [e for e, c in zip(error, confidence, strict=True) if c > limit]
        tied = [e for e, c in zip(error, confidence, strict=True) if c == limit]
        risks.append((sum(above) + (k - len(above)) * sum(tied) / len(tied)) / k)
    return np.array(risks)


def make(seed, values, count=40):
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, values, size=count) / values
    return rng, (rng.uniform(size=count) > confidence).astype(int), confidence


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("values", [1, 4, 10**9])
def test_equals_a_plain_loop(seed, values):
    rng, error, confidence = make(seed, values)
    for loss in (error, error * rng.exponential(size=40)):
        risks = loop(loss, confidence)
        assert aurc(loss, confidence) == pytest.approx(risks.mean(), abs=1e-12)
        curve = risk_coverage(loss, confidence)
        np.testing.assert_allclose(risk_at_coverage(curve, np.arange(1, 41) / 40), risks, atol=1e-12)
        for limit, coverage, risk in zip(*curve, strict=True):
            kept = confidence >= limit
            assert coverage == kept.mean() and risk == pytest.approx(loss[kept].mean(), abs=1e-12)
        assert curve.coverage[-1] == 1 and len(curve.risk) == len(set(confidence))


def test_ties_are_the_mean_over_random_orders():
    rng, error, confidence = make(0, 4)
    orders = confidence + rng.uniform(0, 1e-6, size=(4000, 40))
    areas = [aurc(error, order) for order in orders]
    assert aurc(error, confidence) == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / np.sqrt(4000))


@pytest.mark.parametrize("values", [4, 10**9])
def test_whole_weights_are_repeated_images(values):
    rng, error, confidence = make(1, values)
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=6)
    found = replicate_aurc(error, confidence, weights)
    for r in range(6):
        repeated = loop(np.repeat(error, weights[r]), np.repeat(confidence, weights[r]))
        assert found[r] == pytest.approx(repeated.mean(), abs=1e-12)
    np.testing.assert_allclose(replicate_aurc(error, confidence, weights / 40), found, rtol=1e-12)


def test_fractions_of_weights_lie_between():
    _, error, confidence = make(2, 10**9)
    weights = np.ones((3, 40))
    weights[:, 7], weights[:, 9] = [0.5, 0.500001, 1.5], [1.5, 1.499999, 0.5]
    half, near, other = replicate_aurc(error, confidence, weights)
    assert half == pytest.approx(near, abs=1e-6)
    # The same image in two halves is the image.
    split = np.insert(weights[:1], 7, 0.5, axis=1)
    split[:, 8] = 0.0
    again = replicate_aurc(np.insert(error, 7, error[7]), np.insert(confidence, 7, confidence[7]), split)
    rescaled = replicate_aurc(error, confidence, weights[:1] * 41 / 40)
    assert abs(again[0] - rescaled[0]) < 0.01 and half != other
    assert np.isnan(replicate_aurc(error, confidence, np.zeros((1, 40)))).all()


def test_many_replicates_are_worked_on_in_blocks(monkeypatch):
    rng, error, confidence = make(3, 10)
    weights = rng.dirichlet(np.ones(40), size=50)
    whole = replicate_aurc(error, confidence, weights)
    monkeypatch.setattr("attn_jax.evaluation.selective._BLOCK", 300)
    assert (replicate_aurc(error, confidence, weights) == whole).all() and whole.shape == (50,)


@pytest.mark.parametrize(("right", "wrong"), [(30, 10), (1, 5), (12, 0), (0, 4)])
def test_best_ordering_has_a_closed_form(right, wrong):
    # Geifman et al., arXiv 1805.08206: the errors come last, and after i of them the risk is i / (right + i).
    n = right + wrong
    expected = sum(i / (right + i) for i in range(1, wrong + 1)) / n
    error = np.random.default_rng(0).permutation(np.repeat([0, 1], [right, wrong]))
    assert best_aurc(error) == pytest.approx(expected, abs=1e-12)
    best = -error - np.arange(n) / 1e3
    assert excess_aurc(error, best) == pytest.approx(0, abs=1e-12)
    assert excess_aurc(error, -best) >= 0


def test_best_ordering_of_many_images_and_of_losses():
    rate = 0.2
    error = np.repeat([0, 1], [80_000, 20_000])
    assert best_aurc(error) == pytest.approx(rate + (1 - rate) * np.log(1 - rate), abs=1e-4)
    loss = np.random.default_rng(1).exponential(size=7)
    areas = [aurc(loss, np.random.default_rng(seed).permutation(7)) for seed in range(300)]
    assert best_aurc(loss) <= min(areas) and best_aurc(loss) == pytest.approx(aurc(loss, -loss))


def test_useless_confidence_has_the_risk_of_all_everywhere():
    error = np.arange(20) % 4 == 0
    assert aurc(error, np.full(20, 0.7)) == pytest.approx(0.25)
    np.testing.assert_allclose(accuracy_at_coverage(risk_coverage(error, np.full(20, 0.7))), 0.75)


def test_accuracy_at_coverages():
    error = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 0])
    confidence = np.array([0.99, 0.95, 0.9, 0.9, 0.8, 0.7, 0.7, 0.6, 0.5, 0.4])
    curve = risk_coverage(error, confidence)
    np.testing.assert_allclose(accuracy_at_coverage(curve), [4 / 5, 6 / 8, 6 / 9, 1 - 3 / 9.5])
    np.testing.assert_allclose(accuracy_at_coverage(curve, [0.3, 0.6]), [1, 1 - 1 / 6])


def test_confidences():
    assert top_probability(np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])).tolist() == [0.5, 0.8]
    np.testing.assert_allclose(distance_to_threshold(np.array([0.1, 0.3, 0.9]), 0.3), [0.2, 0, 0.6])


def test_what_is_undefined_or_impossible():
    none = np.zeros(0)
    assert risk_coverage(none, none) is aurc(none, none) is best_aurc(none) is excess_aurc(none, none) is None
    assert np.isnan(replicate_aurc(none, none, np.zeros((2, 0)))).tolist() == [True, True]
    curve = risk_coverage(np.array([0, 1]), np.array([0.9, 0.8]))
    for coverage in (0, 1.2):
        with pytest.raises(UserError, match=f"coverage {coverage} is not"):
            risk_at_coverage(curve, [0.5, coverage])
