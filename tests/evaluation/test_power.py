"""Numbers needed against statsmodels, closed forms and simulation: the promised power comes out."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import NormalIndPower, TTestPower

from attn_jax.errors import UserError
from attn_jax.evaluation.power import MOST, patients, patients_for_equivalence, patients_for_noninferiority, seeds

REPEATS = 40_000
NOISE = 4 * math.sqrt(0.8 * 0.2 / REPEATS)
LEVELS = pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.05, 0.999)])


def t_power(effect, pairs, alpha):
    """From the definition: reject where |Z + shift| > critical S, with S^2 a chi-square over its degrees of freedom."""
    critical, shift = stats.t.ppf(1 - alpha / 2, pairs - 1), effect * math.sqrt(pairs)

    def rejected(s):
        density = stats.chi.pdf(s * math.sqrt(pairs - 1), pairs - 1) * math.sqrt(pairs - 1)
        return density * (stats.norm.cdf(shift - critical * s) + stats.norm.cdf(-shift - critical * s))

    return integrate.quad(rejected, 0, 12, points=[min(11, shift / critical), 1], epsabs=1e-12, limit=500)[0]


@LEVELS
@pytest.mark.parametrize("difference", [0.05, 0.012, 0.002])
def test_seeds_are_the_fewest_that_statsmodels_gives_the_power(difference, alpha, power):
    found = seeds(-difference, 0.02, 5, difference / 3, alpha=alpha, power=power)
    for count, wanted in ((found.observed, difference), (found.smallest, difference / 3)):
        at_count, one_less = (TTestPower().power(wanted / 0.02, pairs, alpha) for pairs in (count, count - 1))
        assert one_less < power <= at_count
    assert found.undefined == {}


@LEVELS
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_difference_that_n_seeds_detect(n, alpha, power):
    effect = seeds(0.01, 0.02, n, 0.005, alpha=alpha, power=power).detectable / 0.02
    assert t_power(effect, n, alpha) == pytest.approx(power, abs=1e-9)
    if n > 3:  # below, the lower tail of statsmodels is NaN
        assert TTestPower().power(effect, n, alpha) == pytest.approx(power, abs=1e-9)


def test_the_promised_power_of_seeds_comes_out():
    rng = np.random.default_rng(0)
    found = seeds(0.01, 0.012, 4, 0.02)

    def rejected(mean, pairs):
        differences = rng.normal(mean, 0.012, size=(REPEATS, pairs))
        return np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)

    expected = TTestPower().power(0.01 / 0.012, found.observed, 0.05)
    assert rejected(0.01, found.observed) == pytest.approx(expected, abs=NOISE) and expected < 0.83
    assert rejected(found.detectable, 4) == pytest.approx(0.8, abs=NOISE)


def test_two_pairs_are_the_fewest_and_a_billion_the_most():
    assert seeds(0.1, 1e-17, 3, 1e-3)[:2] == (2, 2)
    tiny = seeds(1e-6, 0.02, 3, 2e-6)
    assert tiny.observed is None and "more than 1e+09 seeds" in tiny.undefined["observed"]
    normal = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 / (2e-6 / 0.02) ** 2
    # The normal formula leaves out the wrong side, which has a millionth.
    assert tiny.smallest == pytest.approx(normal, rel=1e-5) and tiny.smallest < MOST


@LEVELS
def test_patients_equal_the_formula_and_statsmodels(alpha, power):
    found = patients(-0.02, 0.015, 400, 0.03, alpha=alpha, power=power)
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    assert found.observed == math.ceil(400 * z**2 * 0.015**2 / 0.02**2)
    assert found.smallest == math.ceil(400 * z**2 * 0.015**2 / 0.03**2)
    assert found.detectable == pytest.approx(z * 0.015)
    one = NormalIndPower(ddof=0)
    at_count, one_less = (
        one.power(0.02 / (0.015 * 20), n, alpha, ratio=0) for n in (found.observed, found.observed - 1)
    )
    assert one_less < power <= at_count
    for error in np.linspace(0.01, 0.02, 50):
        detectable = patients(None, error, 100, 0.01).detectable
        assert patients(detectable / 7, error, 100, 0.01).observed == 4900


def test_the_promised_power_of_patients_comes_out():
    # Two models are right on 85 and 80 % of patients, both on 75 %; z test of the paired difference.
    rng = np.random.default_rng(0)
    chances = {1: 0.10, 0: 0.85, -1: 0.05}
    pilot = math.sqrt((0.15 - 0.05**2) / 150)
    count = patients(0.05, pilot, 150, 0.05).observed
    better, _, worse = rng.multinomial(count, list(chances.values()), size=REPEATS).T
    difference = (better - worse) / count
    error = np.sqrt(((better + worse) / count - difference**2) / count)
    # That the error is estimated, and varies, costs or gains a little.
    assert np.mean(np.abs(difference / error) > stats.norm.ppf(0.975)) == pytest.approx(0.8, abs=0.01)


@LEVELS
@pytest.mark.parametrize("expected", [0.0, 0.01, -0.008])
def test_the_promised_power_of_margins_comes_out(expected, alpha, power):
    rng = np.random.default_rng(0)
    z, settings = stats.norm.ppf(1 - alpha / 2), {"expected": expected, "alpha": alpha, "power": power}

    def shown(count, margin, true, equivalent):
        error = 0.015 * math.sqrt(400 / count)
        observed = rng.normal(true, error, size=REPEATS)
        return np.mean((observed - z * error > -margin) & ((observed + z * error < margin) | (not equivalent)))

    for needed, equivalent in ((patients_for_noninferiority, False), (patients_for_equivalence, True)):
        found = needed(0.015, 400, 0.03, **settings)
        assert shown(found.patients, 0.03, expected, equivalent) == pytest.approx(power, abs=NOISE)
        assert shown(400, found.margin, expected, equivalent) == pytest.approx(power, abs=NOISE)
        # At the margin itself the decision is wrong, and no more frequent than alpha / 2.
        assert shown(found.patients, 0.03, -0.03, equivalent) == pytest.approx(alpha / 2, abs=NOISE / 2)


def test_margins_equal_their_closed_forms():
    z, beta, half_beta = stats.norm.ppf([0.975, 0.8, 0.9])
    found = patients_for_noninferiority(0.015, 400, 0.03, expected=0.005)
    assert found.patients == math.ceil(400 * ((z + beta) * 0.015 / 0.035) ** 2)
    assert found.margin == pytest.approx((z + beta) * 0.015 - 0.005)
    found = patients_for_equivalence(0.015, 400, 0.03)
    assert found.patients == math.ceil(400 * ((z + half_beta) * 0.015 / 0.03) ** 2)
    assert found.margin == pytest.approx((z + half_beta) * 0.015)
    assert patients_for_equivalence(0.015, 400, 0.03, expected=-0.01) == patients_for_equivalence(
        0.015, 400, 0.03, expected=0.01
    )
    assert patients_for_noninferiority(0.015, 400, 0.03, expected=0.05).margin == 0


def test_more_patients_at_hand_with_the_error_they_have_need_as_many():
    for n in (100, 900):
        error = 0.3 / math.sqrt(n)
        assert patients(0.02, error, n, 0.03).observed == patients(0.02, 0.015, 400, 0.03).observed
        equivalent = patients_for_equivalence(error, n, 0.03, expected=0.01).patients
        assert equivalent == patients_for_equivalence(0.015, 400, 0.03, expected=0.01).patients


@pytest.mark.parametrize(
    ("spread", "n", "words"),
    [(None, 1, "one seed"), (0.1, 1, "one seed"), (0.0, 3, "is 0"), (math.nan, 3, "no standard deviation")],
)
def test_seeds_without_a_spread(spread, n, words):
    found = seeds(0.01, spread, n, 0.01)
    assert found[:3] == (None,) * 3 and set(found.undefined) == {"observed", "smallest", "detectable"}
    assert all(words in reason for reason in found.undefined.values())


@pytest.mark.parametrize(("error", "words"), [(None, "no standard error"), (0.0, "is 0")])
def test_patients_without_an_error(error, words):
    found = patients(0.01, error, 100, 0.01)
    assert found[:3] == (None,) * 3 and all(words in found.undefined[name] for name in found._fields[:3])
    for needed in (patients_for_noninferiority, patients_for_equivalence):
        found = needed(error, 100, 0.05)
        assert found[:2] == (None, None) and words in found.undefined["patients"] and words in found.undefined["margin"]


@pytest.mark.parametrize("needed", [seeds, patients])
@pytest.mark.parametrize(("observed", "words"), [(0.0, "difference is 0"), (None, "no observed"), (math.nan, "no obs")])
def test_no_difference_has_no_number(needed, observed, words):
    found = needed(observed, 0.02, 100, 0.01)
    assert found.observed is None and words in found.undefined["observed"] and set(found.undefined) == {"observed"}
    assert found.smallest and found.detectable


def test_what_no_number_of_patients_shows():
    for expected in (-0.03, -0.04):
        inferior = patients_for_noninferiority(0.015, 400, 0.03, expected=expected)
        assert inferior.patients is None and "inferior" in inferior.undefined["patients"] and inferior.margin > 0.03
        unlike = patients_for_equivalence(0.015, 400, 0.03, expected=-expected)
        assert unlike.patients is None and "not equivalent" in unlike.undefined["patients"] and unlike.margin > 0.03
    for found in (
        patients(1e-9, 0.015, 400, 0.01),
        patients_for_noninferiority(0.015, 400, 1e-9),
        patients_for_equivalence(0.015, 400, 1e-9),
    ):
        assert found[0] is None and "more than 1e+09 patients" in found.undefined[found._fields[0]]


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": 0.9}, {"power": 1}, {"alpha": math.nan}])
def test_impossible_levels(settings):
    for needed in (patients_for_noninferiority, patients_for_equivalence):
        with pytest.raises(UserError, match="0 < alpha < power < 1"):
            needed(0.01, 100, 0.02, **settings)
    for needed in (seeds, patients):
        with pytest.raises(UserError, match="0 < alpha < power < 1"):
            needed(0.01, 0.01, 100, 0.02, **settings)


def test_impossible_differences():
    with pytest.raises(UserError, match="smallest: 0 is not above 0"):
        seeds(0.01, 0.01, 5, 0)
    with pytest.raises(UserError, match="smallest: -0.1"):
        patients(0.01, 0.01, 5, -0.1)
    with pytest.raises(UserError, match="margin: -0.1"):
        patients_for_equivalence(0.01, 5, -0.1)
