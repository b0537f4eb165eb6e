"""The variances over seeds and patients against planted ones, and the t test's agreement with itself and its level."""

import numpy as np
import pytest
from scipy import special, stats

from attn_jax.evaluation.standard_error import Part, StandardError, over_both, over_patients


def simulated(rng, seeds, patients, sd_seed, sd_shared, sd_own, replicates):
    """A mean over patients of each seed, and its replicates; noise of a mean has these standard deviations."""
    shared = rng.normal(0, sd_shared * np.sqrt(patients), patients)
    own = rng.normal(0, sd_own * np.sqrt(patients), (seeds, patients))
    values = rng.normal(0, sd_seed, (seeds, 1)) + shared + own
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), replicates)
    return values.mean(axis=1), values @ drawn.T / patients


def test_variances_are_the_planted_ones():
    rng = np.random.default_rng(0)
    found = [over_both(*simulated(rng, 4, 60, 0.03, 0.02, 0.02, 100), (4,), 60) for _ in range(400)]
    assert np.mean([of.seeds[0].variance for of in found]) == pytest.approx((0.03**2 + 0.02**2) / 4, rel=0.1)
    assert np.mean([of.patients.variance for of in found]) == pytest.approx(0.02**2, rel=0.05)
    assert {of.seeds[0].df for of in found} == {3} and {of.patients.df for of in found} == {59}


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("sd_seed", [0.0, 0.03, 0.06])
def test_five_percent_are_two_to_eight(seeds, sd_seed):
    rng = np.random.default_rng(1)
    p = []
    for _ in range(600):
        point, drawn = simulated(rng, seeds, 50, sd_seed, 0.02, 0.02, 60)
        p.append(over_both(point, drawn, (seeds,), 50).p(point.mean()))
    # Of 600 trials at 5 %, more than 8 % happen twice in a thousand.
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_groups_of_seeds_add_up():
    point, drawn = simulated(np.random.default_rng(2), 5, 40, 0.03, 0.02, 0.02, 200)
    both = over_both(point, drawn, (2, 3), 40)
    apart = [point[:2].var(ddof=1) / 2, point[2:].var(ddof=1) / 3]
    assert [part.variance for part in both.seeds] == pytest.approx(apart)
    assert [part.df for part in both.seeds] == [1, 2]
    whole = over_patients(drawn, (2, 3), 40)
    assert whole.variance == pytest.approx((drawn[:2].mean(0) + drawn[2:].mean(0)).var(ddof=1) * 40 / 39)
    assert both.patients.variance < whole.variance


def test_one_part_is_students_t():
    error = StandardError((), Part(0.04, 11))
    assert error.p(0.5) == pytest.approx(2 * stats.t.sf(2.5, 11))
    assert error.interval(0.5)[:2] == pytest.approx(stats.t.interval(0.95, 11, 0.5, 0.2))
    assert error.tail(-1.0) == pytest.approx(stats.t.sf(-1.0, 11))


@pytest.mark.parametrize("statistic", [1e-9, 0.3, 2.0, 7.0, 26.0, 52.0, 200.0])
@pytest.mark.parametrize("seeds", [(5e-5, 2), (5e-5, 3), (1e-16, 2), (1e-4, 1)])
def test_the_tail_of_any_statistic_is_found(statistic, seeds):
    error = StandardError((Part(*seeds),), Part(2.5e-5, 9999))
    tail = error.tail(statistic)
    assert 0 < tail <= 0.5 and error.tail(-statistic) == 1 - tail
    assert error.critical(tail) == pytest.approx(statistic, rel=1e-9, abs=1e-12) or tail == 1e-150
    # The heavier of both tails is the least that it can be by the weight of that part.
    assert tail >= stats.t.sf(statistic / (seeds[0] / (seeds[0] + 2.5e-5)), seeds[1]) * 0.999 or tail == 1e-150


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_interval_and_p_agree(level):
    error = StandardError((Part(0.0003, 1), Part(0.0001, 3)), Part(0.0002, 80))
    low, high, _ = error.interval(0.1, level)
    assert error.p(0.1 - low) == pytest.approx(1 - level) and error.p(0.1 - high) == pytest.approx(1 - level)
    # Between the quantiles of its parts.
    tail = (1 - level) / 2
    assert stats.t.isf(tail, 80) < error.critical(tail) < stats.t.isf(tail, 1)
    assert error.interval(0.1, level, (0.09, 0.11))[:2] == (0.09, 0.11)


@pytest.mark.parametrize("value", [0.3, 0.97])
def test_a_bounded_numbers_interval_is_that_of_its_logit(value):
    error = StandardError((), Part(0.0001, 11))
    scale = 0.01 / (value * (1 - value))
    low, high, _ = error.within(value, (0.0, 1.0))
    assert special.logit([low, high]) == pytest.approx(stats.t.interval(0.95, 11, special.logit(value), scale))
    # The same of a coefficient between -1 and 1, which is twice as wide.
    twice = StandardError((), Part(0.0004, 11)).within(2 * value - 1, (-1.0, 1.0))
    assert twice[:2] == pytest.approx((2 * low - 1, 2 * high - 1))
    loss = error.within(value, (0.0, np.inf))
    assert np.log(loss[:2]) == pytest.approx(stats.t.interval(0.95, 11, np.log(value), 0.01 / value))
    assert error.within(1.0, (0.0, 1.0)) is None and StandardError((), Part(0.0, 9)).within(0.5, (0.0, 1.0)) is None


def test_what_cannot_be_known():
    alike = StandardError((), Part(0.0, 9))
    assert alike.interval(0.5) is None and alike.p(0.5) is None and alike.p(0.0) == 1
    drawn = np.random.default_rng(3).normal(size=(3, 20))
    assert over_both(np.zeros(3), drawn, (1, 2), 20) is None and over_patients(drawn, (3,), 1) is None
    drawn[0, :5] = np.nan
    assert over_both(np.arange(3.0), drawn, (3,), 20).undefined == 0.25
    assert over_patients(np.full((2, 9), np.nan), (2,), 20) is None
