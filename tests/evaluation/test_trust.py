"""Calibration, temperature and abstention of a model's runs against planted distortions."""

import numpy as np
import pytest
from scipy.special import expit, logit

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
    found = trust(panel_of(score, rng.uniform(size=5000) < score), "m")
    accuracies = [found.numbers[f"accuracy_at_{share}"] for share in (50, 80, 90, 95)]
    assert accuracies == sorted(accuracies, reverse=True) and accuracies[0] > accuracies[-1] + 0.08
    # A calibrated score helps at any preference but the extremes, where chance decides between nothing and little.
    low, high = max(found.useful[""], key=lambda ends: ends[1] - ends[0])
    assert low < 0.2 and high > 0.8
    assert found.numbers["temperature"] is None and found.reasons["temperature"] == "no validation image"


def test_more_classes_have_no_slope():
    rng = np.random.default_rng(2)
    score = rng.dirichlet(np.ones(3), size=300)
    truth = np.array([rng.choice(3, p=row) for row in score])
    found = trust(panel_of(score, truth, classes=("a", "b", "c")), "m")
    assert found.numbers["calibration_slope"] is None and found.reasons["calibration_slope"] == "for two classes"
    assert found.numbers["ece_classwise"] < 0.1 and not found.useful
