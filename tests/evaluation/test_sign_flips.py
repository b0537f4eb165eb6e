"""Exact tests by sign changes against all of them, scipy and the binomial distribution."""

import itertools

import numpy as np
import pytest
from scipy import stats

from attn_jax.evaluation.sign_flips import sign_flip_p, signed_rank_p


@pytest.mark.parametrize("seed", range(5))
def test_all_sign_changes(seed):
    gains = np.random.default_rng(seed).integers(-4, 6, 10)
    sums = [abs(np.dot(signs, np.abs(gains))) for signs in itertools.product((-1, 1), repeat=10)]
    assert sign_flip_p(gains) == pytest.approx(np.mean(np.array(sums) >= abs(gains.sum())))


def test_single_gains_are_the_binomial_test():
    gains = np.array([1] * 9 + [-1] * 3 + [0] * 20)
    assert sign_flip_p(gains) == pytest.approx(stats.binomtest(9, 12).pvalue)
    assert sign_flip_p(7 * gains) == pytest.approx(sign_flip_p(gains))
    assert sign_flip_p(np.zeros(4, int)) == 1 and sign_flip_p(np.zeros(0, int)) == 1


def test_ranks_are_scipys_exact_test():
    values = np.random.default_rng(6).normal(0.4, 1, 12)
    assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
