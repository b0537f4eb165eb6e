"""Numbers needed against statsmodels, closed forms and simulation: the promised power comes out."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from attn_jax.errors import UserError
from attn_jax.evaluation.power import detectable, patients, patients_for_equivalence, seeds
from attn_jax.evaluation.standard_error import Part, StandardError

MANY = 10**6
LEVELS = pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.05, 0.99)])


def over_patients(error, count):
    return StandardError((), Part(error**2, count - 1))


def over_seeds(sd, count):
    return StandardError((Part(sd**2 / count, count - 1),), Part(0.0, MANY))


@LEVELS
@pytest.mark.parametrize("count", [4, 10, 30])
def test_seeds_alone_are_a_t_test(count, alpha, power):
    found = detectable(over_seeds(0.02, count), alpha=alpha, power=power)
    assert TTestPower().power(found / 0.02, count, alpha) == pytest.approx(power, abs=0.003)
    needed = seeds(over_seeds(0.02, count), 0.015, alpha=alpha, power=power).number
    assert abs(needed - TTestPower().solve_power(0.75, None, alpha, power)) <= 1


@LEVELS
def test_patients_alone_are_the_normal_formula(alpha, power):
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    error = over_patients(0.015, MANY)
    assert detectable(error, alpha=alpha, power=power) == pytest.approx(z * 0.015, rel=1e-4)
    needed = patients(error, 0.03, alpha=alpha, power=power).number
    assert needed == pytest.approx(MANY * (z * 0.015 / 0.03) ** 2, rel=1e-4)
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf((1 + power) / 2)
    needed = patients_for_equivalence(error, 0.03, alpha=alpha, power=power).number
    assert needed == pytest.approx(MANY * (z * 0.015 / 0.03) ** 2, rel=1e-4)


def test_the_promised_power_of_seeds_and_patients_comes_out():
    rng = np.random.default_rng(0)
    true = StandardError((Part(0.0001, 2),), Part(0.0001, 199))
    size = detectable(true)
    found = []
    for _ in range(4000):
        seen = true._replace(seeds=(Part(0.0001 * rng.chisquare(2) / 2, 2),))
        found.append(seen.p(rng.normal(size, true.total)) < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 4000))


def test_what_more_of_the_one_cannot_do():
    mixed = StandardError((Part(0.0004, 2),), Part(0.0004, 199))
    assert patients(mixed, 0.02) == (None, "no number of patients is enough with these seeds")
    assert seeds(mixed, 0.02) == (None, "no number of seeds is enough with these patients")
    assert patients(mixed, 0.5).number < 200 and seeds(mixed, 0.08).number > 3
    assert "one seed" in seeds(over_patients(0.01, 100), 0.02).reason
    assert patients(over_patients(0.0, 100), 0.02).reason == "the standard error is 0"


def test_two_models_with_seeds_of_their_own_need_more_than_one():
    one, two = (StandardError((Part(0.0002, 4),) * k, Part(0.0001, 199)) for k in (1, 2))
    assert detectable(two) > detectable(one) and seeds(two, 0.05).number > seeds(one, 0.05).number


@pytest.mark.parametrize("wrong", [{"alpha": 0.9}, {"power": 1.0}, {"alpha": 0.0}])
def test_levels_are_checked(wrong):
    with pytest.raises(UserError, match="0 < alpha < power < 1"):
        patients(over_patients(0.01, 50), 0.02, **wrong)
    with pytest.raises(UserError, match="not above 0"):
        seeds(over_seeds(0.01, 5), 0.0)
