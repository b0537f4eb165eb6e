"""Equivalence against statsmodels' two one-sided tests, and the error rates that the tests promise."""

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from attn_jax.evaluation.equivalence import judge


def test_is_statsmodels_tost():
    values = np.random.default_rng(0).normal(0.004, 0.05, size=4000)
    described = DescrStatsW(values)
    p, (lower, *_), _ = described.ttost_mean(-0.005, 0.005)
    found = judge(values.mean(), described.std_mean, 0.005)
    # z here, t with 3,999 degrees of freedom there.
    assert found.equivalence_p == pytest.approx(p, abs=1e-4)
    z_lower = (values.mean() + 0.005) / described.std_mean
    assert lower == pytest.approx(z_lower)


@pytest.mark.parametrize(
    "difference, error, verdict",
    [
        (0.001, 0.005, "equivalent"),
        (0.012, 0.004, "equivalent"),
        (0.040, 0.010, "better"),
        (-0.040, 0.010, "worse"),
        (0.010, 0.015, "non-inferior"),
        (-0.010, 0.015, "inconclusive"),
        (0.0, 0.0, "equivalent"),
        (0.05, 0.0, "better"),
        (-0.05, 0.0, "worse"),
    ],
)
def test_verdicts(difference, error, verdict):
    assert judge(difference, error, 0.02).verdict == verdict


def test_a_difference_as_large_as_the_margin_passes_in_2_5_percent():
    at_margin = np.random.default_rng(1).normal(-0.02, 0.005, size=4000)
    found = [judge(value, 0.005, 0.02) for value in at_margin]
    assert np.mean([of.noninferiority_p < 0.025 for of in found]) == pytest.approx(0.025, abs=0.008)
    assert np.mean([of.verdict in ("equivalent", "non-inferior") for of in found]) == pytest.approx(0.025, abs=0.008)
