"""Measures under weights: exact ones equal those of repeated images, estimates come close to being fitted again."""

import numpy as np
import pytest
from scipy.special import expit, logit

from attn_jax.evaluation import temperature
from attn_jax.evaluation.calibration import recalibration
from attn_jax.evaluation.selective import accuracy_at_coverage, risk_coverage
from attn_jax.evaluation.trust_replicates import Kept, Recalibrated, Tempered

COUNT = 300


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    honest = rng.uniform(0.02, 0.98, size=COUNT)
    weights = rng.multinomial(COUNT, np.full(COUNT, 1 / COUNT), size=40).astype(float)
    return rng.uniform(size=COUNT) < honest, expit(2 * logit(honest)), weights


def again(weights, *arrays):
    for row in weights.astype(int):
        yield tuple(np.repeat(of, row, axis=0) for of in arrays)


@pytest.mark.parametrize("decimals", [1, 12])
def test_accuracy_at_coverage_is_that_of_repeated_images(made, decimals):
    truth, score, weights = made
    confidence, error = np.abs(np.round(score, decimals) - 0.5), (score > 0.5) != truth
    found = Kept(error, confidence)(weights)
    for row, images in enumerate(again(weights, error, confidence)):
        expected = accuracy_at_coverage(risk_coverage(*images))
        np.testing.assert_allclose([of[row] for of in found.values()], expected, atol=1e-12)


def test_one_step_is_close_to_another_fit(made):
    truth, score, weights = made
    found = Recalibrated(truth, score, recalibration(truth, score))(weights)
    fits = [recalibration(*images) for images in again(weights, truth, score)]
    for name, values in found.items():
        expected = [getattr(fit, name.removeprefix("calibration_")).value for fit in fits]
        assert np.corrcoef(values, expected)[0, 1] > 0.97 and values.std() == pytest.approx(np.std(expected), rel=0.15)
    pair = np.stack([1 - score, score], axis=1)
    label = truth.astype(int)
    values = Tempered(pair, label, temperature.fit_classes(pair, label).temperature)(weights)["temperature"]
    expected = [temperature.fit_classes(*images).temperature for images in again(weights, pair, label)]
    assert np.corrcoef(values, expected)[0, 1] > 0.97 and values.std() == pytest.approx(np.std(expected), rel=0.15)


def test_one_kind_of_image_has_no_recalibration(made):
    truth, score, _ = made
    found = Recalibrated(truth, score, recalibration(truth, score))(np.stack([truth, np.ones(COUNT)]).astype(float))
    assert all(np.isnan(of[0]) and not np.isnan(of[1]) for of in found.values())
