"""Youden's threshold against a search over all thresholds."""

import numpy as np
import pytest

from attn_jax.evaluation.thresholds import youden


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_thresholds_and_the_highest_of_equals(seed):
    rng = np.random.default_rng(seed)
    truth = np.arange(30) % 3 == 0
    score = rng.integers(0, 12, size=30) / 11
    best = max(
        sorted(set(score), reverse=True),
        key=lambda t: round((score[truth] >= t).mean() - (score[~truth] >= t).mean(), 9),
    )
    assert youden(truth, score) == best


def test_perfect_useless_and_undefined():
    truth = np.array([True, True, False, False])
    assert youden(truth, np.array([0.9, 0.7, 0.6, 0.1])) == 0.7
    assert youden(truth, np.full(4, 0.3)) == 0.3
    assert youden(truth[:2], np.array([0.9, 0.7])) is None and youden(truth[2:], np.array([0.9, 0.7])) is None
    assert youden(truth[:0], np.zeros(0)) is None
