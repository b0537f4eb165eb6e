"""Temperatures against a grid and planted ones; scaling keeps decisions and order."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, roc_auc_score

from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.temperature import fit_classes, fit_finding, scale, scale_classes, scale_finding


def draw(rng, logits):
    """Labels drawn with the softmax of the logits."""
    return (softmax(logits, axis=1).cumsum(axis=1) < rng.uniform(size=(len(logits), 1))).sum(axis=1)


def power(probability, temperature):
    """p^(1/T), normalized: the same as softmax(log p / T)."""
    raised = probability ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 5])
def test_the_fit_is_the_best_of_a_grid(seed, classes):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, size=(80, classes))
    label = draw(rng, logits)
    probability = softmax(logits * (0.3 + seed), axis=1)
    found = fit_classes(probability, label)

    def loss(temperature):
        return -np.log(power(probability, temperature)[np.arange(80), label]).mean()

    best = loss(found.temperature)
    assert best == pytest.approx(log_loss(label, scale_classes(probability, found.temperature)))
    grid = np.exp(np.linspace(np.log(0.05), np.log(50), 2000))
    losses = np.array([loss(t) for t in grid])
    assert found.reason == "" and best <= losses.min() < best + 1e-4
    step = found.temperature * 1e-4
    assert min(loss(found.temperature - step), loss(found.temperature + step)) > best
    np.testing.assert_allclose(scale_classes(probability, found.temperature), power(probability, found.temperature))


@pytest.mark.parametrize("planted", [0.4, 1.0, 3.5])
def test_planted_temperatures_are_found(planted):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, size=(100_000, 4))
    assert fit_classes(softmax(logits * planted, axis=1), draw(rng, logits)).temperature == pytest.approx(planted, 0.02)
    line = rng.normal(-1, 2, size=100_000)
    found = fit_finding(expit(line * planted), rng.uniform(size=line.size) < expit(line))
    assert found.temperature == pytest.approx(planted, 0.02)


def test_a_scaled_model_has_nothing_left_to_scale_and_a_finding_is_two_classes():
    rng = np.random.default_rng(1)
    score = expit(rng.normal(0, 3, size=200))
    truth = rng.uniform(size=200) < expit(0.4 * np.log(score / (1 - score)))
    found = fit_finding(score, truth)
    both = np.stack([1 - score, score], axis=1)
    assert fit_classes(both, truth.astype(int)).temperature == pytest.approx(found.temperature, rel=1e-6)
    scaled = scale_finding(score, found.temperature)
    np.testing.assert_allclose(scale_classes(both, found.temperature)[:, 1], scaled, rtol=1e-12)
    assert fit_finding(scaled, truth).temperature == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0, 90.0])
def test_decisions_and_order_stay(temperature):
    rng = np.random.default_rng(2)
    extreme = softmax(rng.normal(0, 1, size=(500, 3)) * 10 ** rng.uniform(-2, 2, size=(500, 1)), axis=1)
    extreme = extreme.astype(np.float32)  # some are 0 and 1 in single precision, and many pairs are ties
    assert (extreme == 0).any() and (extreme == 1).any()
    scaled = scale_classes(extreme, temperature)
    assert (scaled.argmax(axis=1) == extreme.argmax(axis=1)).all() and np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    score = np.sort(np.concatenate([[0, 1], expit(rng.normal(0, 6, size=400))]))
    both = scale_classes(np.stack([1 - score, score], axis=1), temperature)[:, 1]
    for after in (both, scale_finding(score, temperature)):
        assert (np.diff(after) >= 0).all()
        assert temperature < 1 or (np.diff(after) > 0).all()
        assert ((after > 0.5) == (score > 0.5)).all()


def test_scores_of_zero_and_one_count_as_the_stated_tiny_values():
    tiny = 2.0**-126  # the smallest normal float32
    np.testing.assert_allclose(scale_classes(np.array([[0.0, 1.0]]), 40.0), power(np.array([[tiny, 1.0]]), 40.0))
    ends = scale_finding(np.array([0.0, 1.0]), 40.0)
    np.testing.assert_allclose(ends, expit([np.log(tiny) / 40, 54 * np.log(2) / 40]))


def test_an_undefined_temperature_says_why():
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_classes(sure[:0], np.zeros(0, int)) == (None, "no validation image")
    right = fit_classes(sure, np.array([0, 1]))
    assert right.temperature is None and "decided rightly" in right.reason
    for label, score in (([1, 0], sure), ([0, 1], np.full((2, 2), 0.5))):
        wrong = fit_classes(score, np.array(label))
        assert wrong.temperature is None and "by chance" in wrong.reason
    flat = np.array([[0.50001, 0.49999], [0.49999, 0.50001], [0.50001, 0.49999]])
    far = fit_classes(np.repeat(flat, 30, axis=0), np.repeat([0, 1, 0], 30) ^ (np.arange(90) % 30 == 0))
    assert far.temperature is None and "0.01 .. 100" in far.reason


def predicted(rng, kind, count=400) -> Predictions:
    split = np.where(np.arange(count) % 2 == 0, "val", "test")
    if kind == "multilabel":
        line = rng.normal(0, 2, size=(count, 3))
        label = (rng.uniform(size=line.shape) < expit(line)).astype(float)
        label[rng.uniform(size=label.shape) < 0.2] = np.nan
        label[split == "val", 2] = np.nan
        return Predictions(np.arange(count), label, expit(line * [0.5, 3, 3]), ("a", "b", "c"), kind, split=split)
    logits = rng.normal(0, 2, size=(count, 2))
    return Predictions(np.arange(count), draw(rng, logits), softmax(3 * logits, axis=1), ("a", "b"), split=split)


def test_two_classes_are_scaled_with_what_the_validation_images_say():
    predictions = predicted(np.random.default_rng(3), "single")
    found = scale(predictions)
    val = predictions.part("val")
    assert found.temperatures == {"all classes": fit_classes(val.score, val.label).temperature} and found.reasons == {}
    assert 2 < found.temperatures["all classes"] < 5
    np.testing.assert_allclose(found.predictions.score, power(predictions.score, found.temperatures["all classes"]))
    before, after = evaluate(predictions).metrics, evaluate(found.predictions).metrics
    assert after["log_loss"] < before["log_loss"] and after["ece"] < before["ece"]
    assert after["auc"] == before["auc"] and after["accuracy"] == before["accuracy"]


def test_findings_are_scaled_each_by_its_own_temperature():
    predictions = predicted(np.random.default_rng(4), "multilabel")
    found = scale(predictions)
    assert found.temperatures["a"] < 1 < 2 < found.temperatures["b"]
    assert found.temperatures["c"] is None and found.reasons == {"c": "no validation image"}
    assert (found.predictions.score[:, 2] == predictions.score[:, 2]).all()
    for k in range(3):
        known = ~np.isnan(predictions.label[:, k])
        before, after = (roc_auc_score(predictions.label[known, k], p.score[known, k]) for p in (predictions, found[0]))
        assert after == before
    assert found.predictions.image_id.tolist() == predictions.image_id.tolist()


def test_without_validation_images_nothing_changes():
    predictions = predicted(np.random.default_rng(5), "single").part("test")
    found = scale(predictions)
    assert found.temperatures == {"all classes": None} and found.reasons == {"all classes": "no validation image"}
    assert (found.predictions.score == predictions.score).all()
