"""Calibration, temperature and abstention of a model's runs against planted distortions."""

import numpy as np
import pytest
from scipy.special import expit, logit

from attn_jax.evaluation.calibration import recalibration
from attn_jax.evaluation.panel import panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.trust import trust


def panel_of(score, truth, split=None, classes=("no", "yes")):
    pair = np.stack([1 - score, score], axis=1) if score.ndim == 1 else score
    (panel,) = panels([("m", Predictions(np.arange(len(truth)), truth.astype(int), pair, classes, split=split))])
    return panel


def test_a_sharpened_model_is_found_and_mended():
    rng = np.random.default_rng(0)
    honest = rng.uniform(0.02, 0.98, size=20_000)
    truth = rng.uniform(size=len(honest)) < honest
    split = np.where(np.arange(len(honest)) % 2, "val", "test")
    found = trust(panel_of(expit(3 * logit(honest)), truth, split), "m").numbers
    assert found["temperature"] == pytest.approx(3, rel=0.08)
    assert found["calibration_slope"] == pytest.approx(1 / 3, rel=0.08)
    assert found["ece_equal_mass"] > 0.1 > 0.03 > found["ece_after_temperature"]


def test_doubt_is_where_errors_are():
    rng = np.random.default_rng(1)
    score = rng.uniform(size=5000)
    truth = rng.uniform(size=5000) < score
    found = trust(panel_of(score, truth), "m")
    accuracies = [found.numbers[f"accuracy_at_{share}"] for share in (50, 80, 90, 95)]
    assert accuracies == sorted(accuracies, reverse=True) and accuracies[0] > accuracies[-1] + 0.08
    # A calibrated score helps at any preference but the extremes, where chance decides between nothing and little.
    low, high = max(found.useful, key=lambda ends: ends[1] - ends[0])
    assert low < 0.2 and high > 0.8
    for name in ("aurc", "accuracy_at_80", "calibration_slope"):
        assert found.intervals[name].low < found.numbers[name] < found.intervals[name].high
    width = found.intervals["calibration_slope"].high - found.intervals["calibration_slope"].low
    assert width == pytest.approx(2 * 1.96 * recalibration(truth, score).slope.se, rel=0.15)
    assert "ece_equal_mass" not in found.intervals
    assert found.numbers["temperature"] is None and found.reasons["temperature"] == "no validation image"


def test_more_classes_have_no_slope():
    rng = np.random.default_rng(2)
    score = rng.dirichlet(np.ones(3), size=300)
    truth = np.array([rng.choice(3, p=row) for row in score])
    found = trust(panel_of(score, truth, classes=("a", "b", "c")), "m")
    assert found.numbers["calibration_slope"] is None and found.reasons["calibration_slope"] == "for two classes"
    assert found.numbers["ece_classwise"] < 0.1 and not found.useful


def test_useful_is_more_than_noise():
    rng = np.random.default_rng(3)
    truth = rng.uniform(size=300) < 0.3
    assert trust(panel_of(rng.uniform(size=300), truth), "m").useful == ()


def intervals_of_seeds(factors):
    """Of runs that sharpen or soften the same honest scores."""
    rng = np.random.default_rng(4)
    honest = rng.uniform(0.05, 0.95, size=400)
    truth = (rng.uniform(size=400) < honest).astype(int)
    split, found = np.where(np.arange(400) % 2, "val", "test"), []
    for seed, factor in enumerate(factors):
        score = expit(factor * logit(honest))
        pair = np.stack([1 - score, score], axis=1)
        found.append(
            ("m", Predictions(np.arange(400), truth, pair, ("no", "yes"), model="m", seed=str(seed), split=split))
        )
    return trust(panels(found)[0], "m").intervals


def test_several_seeds_have_wider_intervals_where_they_differ():
    same, apart = (intervals_of_seeds(factors)["calibration_slope"] for factors in ([1, 1, 1], [0.5, 1, 1.5]))
    assert apart.high - apart.low > 2 * (same.high - same.low)


def test_temperatures_of_several_seeds_have_an_interval_of_positive_numbers():
    same, apart = (intervals_of_seeds(factors)["temperature"] for factors in ([1, 1, 1], [0.25, 1, 4]))
    assert 0 < apart.low < same.low / 4 and apart.high > 4 * same.high
    # A temperature grows as the scores are sharpened, and these factors have no effect on average.
    assert apart.low * apart.high == pytest.approx(same.low * same.high, rel=1e-4)


def test_each_finding_is_two_classes_where_it_is_known():
    rng = np.random.default_rng(5)
    label = rng.choice([0.0, 1.0, np.nan], size=(200, 2), p=[0.5, 0.3, 0.2])
    score = np.clip(np.nan_to_num(label, nan=0.5) * 0.4 + rng.uniform(0, 0.6, size=(200, 2)), 0.01, 0.99)
    split = np.where(np.arange(200) % 3, "test", "val")
    found = trust(
        panels([("m", Predictions(np.arange(200), label, score, ("a", "b"), "multilabel", split=split))])[0], "m"
    )
    known = ~np.isnan(label[:, 1])
    alone = trust(panel_of(score[known, 1], label[known, 1], split[known], classes=("no b", "b")), "m")
    assert not found.numbers and set(found.findings) == {"a", "b"}
    for name, value in alone.numbers.items():
        assert found.findings["b"].numbers[name] == pytest.approx(value, nan_ok=True), name
