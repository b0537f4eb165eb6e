"""Equivalence against statsmodels' two one-sided tests, and the error rates that the tests promise."""

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from attn_jax.evaluation.equivalence import Compared, judge
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.standard_error import Part, StandardError


def compared(difference, error, patients=100_000):
    of = StandardError((), Part(error**2, patients - 1))
    return Compared(difference, of, of.p(difference))


def test_is_statsmodels_tost():
    values = np.random.default_rng(0).normal(0.004, 0.05, size=40)
    described = DescrStatsW(values)
    p, (_, lower, _), _ = described.ttost_mean(-0.005, 0.005)
    (found,) = judge([compared(values.mean(), described.std_mean, 40)], 0.005)
    assert found.equivalence_p == found.equivalence_adjusted == pytest.approx(p)
    assert found.noninferiority_p == pytest.approx(lower)


@pytest.mark.parametrize(
    "difference, error, verdict",
    [
        (0.001, 0.005, "equivalent"),
        (0.012, 0.004, "equivalent"),
        (0.040, 0.010, "better"),
        (-0.040, 0.010, "worse"),
        (0.010, 0.0149, "non-inferior"),
        (-0.010, 0.015, "inconclusive"),
    ],
)
def test_verdicts(difference, error, verdict):
    (found,) = judge([compared(difference, error)], 0.02)
    assert found.verdict == verdict
    low, high, _ = compared(difference, error).error.interval(difference)
    assert (verdict == "equivalent") == (-0.02 < low and high < 0.02)


def test_without_spread_nothing_is_known():
    assert judge([None, compared(0.0, 0.0), compared(0.05, 0.0)], 0.02) == (None, None, None)


def test_a_family_is_adjusted():
    family = [compared(0.0005, 0.0097), compared(0.0, 0.0098), None, compared(0.03, 0.014)]
    found = judge(family, 0.02)
    known = [of for of in found if of]
    assert found[2] is None and [of.equivalence_adjusted for of in known] == holm([of.equivalence_p for of in known])
    assert [of.verdict for of in judge(family[:1], 0.02)] == ["equivalent"]
    assert found[0].verdict != "equivalent", "among several it takes more"


def test_better_needs_holms_p():
    of = compared(0.03, 0.01)
    verdicts = [judge([of._replace(adjusted_p=p)], 0.001)[0].verdict for p in (0.049, 0.051, None)]
    assert verdicts == ["better", "non-inferior", "non-inferior"]


def test_a_difference_as_large_as_the_margin_passes_in_2_5_percent():
    at_margin = np.random.default_rng(1).normal(-0.02, 0.005, size=4000)
    found = [judge([compared(value, 0.005)], 0.02)[0] for value in at_margin]
    assert np.mean([of.noninferiority_p < 0.025 for of in found]) == pytest.approx(0.025, abs=0.008)
    assert np.mean([of.verdict in ("equivalent", "non-inferior") for of in found]) == pytest.approx(0.025, abs=0.008)
