"""Weighted metrics against `evaluate` on the images a replicate drew, written out as a data set of their own."""

import numpy as np
import pytest

from attn_jax.evaluation.metrics import METRICS, evaluate
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.weighted import Judged, Ranking


def binary(rng, count, decimals):
    truth = rng.uniform(size=count) < 0.3
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1), decimals)
    return truth.astype(int), np.stack([1 - score, score], axis=1), ("healthy", "ill"), "single"


def classes(rng, count, decimals):
    parts = 10**decimals
    score = rng.multinomial(parts, rng.dirichlet(np.ones(4), size=count)) / parts
    return rng.integers(0, 4, count), score, tuple("abcd"), "single"


def findings(rng, count, decimals):
    label = rng.choice([0.0, 1.0, np.nan], size=(count, 3), p=[0.5, 0.3, 0.2])
    return label, np.round(rng.uniform(size=(count, 3)), decimals), ("x", "y", "z"), "multilabel"


def drawn(test: Predictions, weights) -> Predictions:
    """The images as often as the weights say, under new names."""
    rows = np.repeat(np.arange(len(test)), weights.astype(int))
    label, score = test.label[rows], test.score[rows]
    return Predictions(np.arange(len(rows)), label, score, test.classes, test.kind, positive=test.positive)


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("kind", [binary, classes, findings])
@pytest.mark.parametrize("count", [12, 80])
def test_equal_those_of_the_drawn_images(kind, decimals, count):
    rng = np.random.default_rng(decimals + count)
    label, score, names, how = kind(rng, count, decimals)
    test = Predictions(np.arange(count), label, score, names, how)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=12).astype(float)
    weights[0] = 1
    # Without validation images, decisions fall at 0.5 on both sides.
    values = Judged(test, {})(weights)
    assert set(values) == set(METRICS)
    whole = evaluate(test).per_class
    for row, of in enumerate(weights):
        judged = evaluate(drawn(test, of))
        for metric in METRICS:
            # A mean over fewer findings than on all images would be another number.
            lost = [f for f in whole if whole[f][metric] is not None and judged.per_class[f][metric] is None]
            wanted = judged.metrics[metric]
            wanted = np.nan if wanted is None or (how == "multilabel" and lost) else wanted
            assert values[metric][row] == pytest.approx(wanted, abs=1e-9, nan_ok=True), metric


def test_a_finding_that_nobody_knows_is_left_out_and_one_without_a_positive_drawn_undefines():
    nan = np.nan
    label = np.array([[1, nan, 0], [0, nan, 1], [1, nan, 0], [0, nan, 0]])
    score = np.array([[0.9, 0.5, 0.2], [0.2, 0.5, 0.4], [0.1, 0.5, 0.3], [0.3, 0.5, 0.6]])
    values = Judged(Predictions(np.arange(4), label, score, ("x", "nobody", "rare"), "multilabel"), {})(
        np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]])
    )
    # x: .9 and .1 against .2 and .3; rare: .4 against .2, .3 and .6. The second replicate lacks rare's only positive.
    assert values["auc"][0] == pytest.approx((2 / 4 + 2 / 3) / 2) and np.isnan(values["auc"][1])
    assert values["accuracy"][1] == pytest.approx((3 / 4 + 3 / 4) / 2)


def test_no_image_has_no_metric():
    empty = Predictions(np.zeros(0), np.zeros(0), np.zeros((0, 2)), ("no", "yes"))
    assert all(np.isnan(of).all() and of.shape == (3,) for of in Judged(empty, {})(np.zeros((3, 0))).values())


def test_ordinal_kappa_is_evaluates():
    rng = np.random.default_rng(0)
    label, score, names, how = classes(rng, 100, 9)
    test = Predictions(np.arange(100), label, score, names, how)
    kappa = Judged(test, {}, ordinal=True)(np.ones((1, 100)))["kappa"][0]
    assert kappa == pytest.approx(evaluate(test, ordinal=True).metrics["kappa"], abs=1e-12)


def test_thresholds_decide():
    rng = np.random.default_rng(1)
    label, score, names, how = binary(rng, 50, 9)
    test = Predictions(np.arange(50), label, score, names, how)
    values = Judged(test, {"ill": 0.3})(np.ones((1, 50)))
    assert values["sensitivity"][0] == pytest.approx((score[label == 1, 1] >= 0.3).mean())


def test_one_kind_of_image_has_no_ranking():
    ranking = Ranking(np.array([True, False, False]), np.array([0.9, 0.5, 0.1]))
    values = ranking(np.array([[3.0, 0, 0], [0, 2, 1], [1, 1, 1]]))
    assert np.isnan(values["auc"]).tolist() == [True, True, False]
    assert np.isnan(values["average_precision"]).tolist() == [True, True, False]
    assert values["auc"][2] == 1
