"""Curves: areas equal the numbers, thresholds give the points, means are means."""

import numpy as np
import pytest

from attn_jax.evaluation.curves import Curve, mean_roc, replicate_roc, roc
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.records import Predictions


def predicted(image_id, label, score, classes, kind="single", **more) -> Predictions:
    """Predictions from anything that makes arrays."""
    return Predictions(np.array(image_id), np.array(label), np.array(score), classes, kind, **more)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_areas_equal_the_metrics_and_thresholds_give_the_points(classes):
    rng = np.random.default_rng(0)
    score = rng.dirichlet(np.ones(len(classes)), size=90)
    predictions = predicted(range(90), np.arange(90) % len(classes), score, classes)
    result = evaluate(predictions)
    curves = roc(predictions)
    assert list(curves) == list(result.per_class)
    for name, curve in curves.items():
        truth, values = predictions.outcomes()[name]
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(result.per_class[name]["auc"])
        for x, y, limit in zip(*curve, strict=True):
            assert x == np.mean(values[~truth] >= limit) and y == np.mean(values[truth] >= limit)


def test_a_finding_with_one_kind_has_no_curve():
    label = np.array([[1, np.nan], [0, 1], [1, 1]])
    predictions = predicted(range(3), label, np.full((3, 2), 0.5), ("mass", "hernia"), "multilabel")
    assert list(roc(predictions)) == ["mass"]


def test_mean_of_curves():
    diagonal = Curve(np.array([0.0, 1]), np.array([0.0, 1]), np.array([np.inf, 0]))
    perfect = Curve(np.array([0.0, 0, 1]), np.array([0.0, 1, 1]), np.array([np.inf, 1, 0]))
    found = mean_roc([diagonal, perfect], points=5)
    np.testing.assert_allclose(found.mean, [0, 0.625, 0.75, 0.875, 1])
    assert found.sd is not None
    np.testing.assert_allclose(found.sd, np.array([0, 0.75, 0.5, 0.25, 0]) / np.sqrt(2))
    alone = mean_roc([diagonal], points=5)
    np.testing.assert_allclose(alone.mean, alone.x)
    assert alone.sd is None


@pytest.mark.parametrize("digits", [1, 9])
def test_replicates_are_curves_of_repeated_images(digits):
    rng = np.random.default_rng(digits)
    truth, score = rng.uniform(size=50) < 0.3, rng.uniform(size=50).round(digits)
    weights = rng.multinomial(50, np.full(50, 1 / 50), size=20).astype(np.float64)
    found = replicate_roc(truth, score, weights, points=41)
    for row, of in zip(found, weights, strict=True):
        at = np.repeat(np.arange(50), of.astype(int))
        pair = np.stack([1 - score[at], score[at]], axis=1)
        (curve,) = roc(predicted(range(50), truth[at], pair, ("a", "b"))).values()
        np.testing.assert_allclose(row, mean_roc([curve], 41).mean, atol=1e-12)
    np.testing.assert_allclose(replicate_roc(truth, score, 3 * weights, points=41), found, atol=1e-12)


def test_replicates_of_one_kind_have_no_curve():
    truth, score = np.array([True, False, False]), np.array([0.9, 0.2, 0.4])
    found = replicate_roc(truth, score, np.array([[3.0, 0, 0], [0, 1, 2], [1, 1, 1]]), points=3)
    assert np.isnan(found[:2]).all() and found[2].tolist() == [0, 1, 1]
    assert np.isnan(replicate_roc(truth[:0], score[:0], np.ones((2, 0)))).all()
