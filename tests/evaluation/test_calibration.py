"""Reliability bins and the calibration error against a plain loop and planted truths."""

import numpy as np
import pytest

from attn_jax.evaluation.calibration import expected_calibration_error, reliability


def loop(truth, score, bins):
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = (score > low) & (score <= high) | ((score == 0) & (b == 0))
        if inside.any():
            total += inside.mean() * abs(score[inside].mean() - truth[inside].mean())
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equals_a_plain_loop(seed, bins):
    rng = np.random.default_rng(seed)
    score = np.concatenate([rng.uniform(size=200), [0, 1, 0, 1]])
    truth = rng.uniform(size=204) < score**2
    assert expected_calibration_error(truth, score, bins) == pytest.approx(loop(truth, score, bins))
    found = reliability(truth, score, bins)
    assert found.images.sum() == 204
    assert np.nansum(found.frequency * found.images) == pytest.approx(truth.sum())


def test_edges_belong_to_the_bin_below():
    score = np.arange(16) / 15
    assert reliability(np.ones(16, bool), score).images.tolist() == [2] + [1] * 14


def test_calibrated_scores_have_a_small_error_and_shifted_ones_the_shift():
    rng = np.random.default_rng(0)
    score = rng.uniform(0.1, 0.9, size=200_000)
    truth = rng.uniform(size=len(score)) < score
    assert expected_calibration_error(truth, score) < 0.005
    assert expected_calibration_error(truth, score + 0.08) == pytest.approx(0.08, abs=0.005)
    assert expected_calibration_error(truth[:0], score[:0]) is None
