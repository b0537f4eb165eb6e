"""Reliability bins, bands, calibration errors and recalibration against plain loops, statsmodels and planted truths."""

import itertools
import json
import pathlib

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import poisson_binom
from statsmodels.stats.proportion import proportion_confint

from attn_jax.evaluation.calibration import (
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    recalibration,
    reliability,
    reliability_bands,
)

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "goldens" / "calibration.json").read_text())


@pytest.mark.parametrize("bins", [10, 15])
def test_errors_are_those_of_torchmetrics_and_netcal(bins):
    truth, score, label, likely = (np.array(GOLDEN[name]) for name in ("truth", "score", "label", "likely"))
    top = likely.argmax(axis=1) == label
    found = {
        "ece": expected_calibration_error(truth, score, bins),
        "mce": maximum_calibration_error(truth, score, bins),
        "equal_mass": expected_calibration_error(truth, score, bins, equal_mass=True),
        "classwise": classwise_calibration_error(label, likely, bins),
        "top": expected_calibration_error(top, likely.max(axis=1), bins),
    }
    assert found == pytest.approx({name: GOLDEN[f"{name}_{bins}"] for name in found}, abs=1e-6)


def loop(truth, score, bins):
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = (score > low) & (score <= high) | ((score == 0) & (b == 0))
        if inside.any():
            total += inside.mean() * abs(score[inside].mean() - truth[inside].mean())
    return total


def equal_mass_gaps(truth, score, bins):
    """`(images, gap)` of each bin, by a loop over scores and the middle of their ranks."""
    members = [[] for _ in range(bins)]
    for value in sorted(set(score)):
        middle = ((score < value).mean() + (score <= value).mean()) / 2
        members[min(int(middle * bins + 1e-9), bins - 1)].extend(np.flatnonzero(score == value))
    return [(len(m), abs(score[m].mean() - truth[m].mean())) for m in members if m]


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
    assert maximum_calibration_error(truth, score, bins) == np.nanmax(np.abs(found.score - found.frequency))


def test_edges_belong_to_the_bin_below():
    score = np.arange(16) / 15
    assert reliability(np.ones(16, bool), score).images.tolist() == [2] + [1] * 14


def test_calibrated_scores_have_a_small_error_and_shifted_ones_the_shift():
    rng = np.random.default_rng(0)
    score = rng.uniform(0.1, 0.9, size=200_000)
    truth = rng.uniform(size=len(score)) < score
    for equal_mass in (False, True):
        assert expected_calibration_error(truth, score, equal_mass=equal_mass) < 0.005
        shifted = expected_calibration_error(truth, score + 0.08, equal_mass=equal_mass)
        assert shifted == pytest.approx(0.08, abs=0.005)


def test_without_images_there_is_no_error():
    for error in (expected_calibration_error, maximum_calibration_error):
        for equal_mass in (False, True):
            assert error(np.zeros(0, bool), np.zeros(0), equal_mass=equal_mass) is None
    assert classwise_calibration_error(np.zeros(0, int), np.zeros((0, 3))) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", [4, 30, 10**9])
def test_bins_of_equal_mass_equal_a_loop_and_never_split_a_score(seed, values):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, values + 1, size=150) / values
    truth = rng.uniform(size=150) < score**2
    expected = equal_mass_gaps(truth, score, 10)
    found = reliability(truth, score, 10, equal_mass=True)
    assert found.images[found.images > 0].tolist() == [images for images, _ in expected]
    ece = expected_calibration_error(truth, score, 10, equal_mass=True)
    assert ece == pytest.approx(sum(images * gap for images, gap in expected) / 150, abs=1e-12)
    mce = maximum_calibration_error(truth, score, 10, equal_mass=True)
    assert mce == pytest.approx(max(gap for _, gap in expected), abs=1e-12)
    if values == 10**9:
        assert found.images.tolist() == [15] * 10


def test_one_score_for_all_is_one_bin():
    found = reliability(np.arange(9) < 3, np.full(9, 0.2), 15, equal_mass=True)
    assert sorted(found.images)[-2:] == [0, 9] and found.frequency[found.images > 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_classwise_error_is_the_mean_over_classes(equal_mass):
    rng = np.random.default_rng(0)
    score = rng.dirichlet(np.ones(4), size=120)
    label = rng.integers(0, 3, size=120)  # no image of the fourth class
    found = classwise_calibration_error(label, score, 10, equal_mass=equal_mass)
    errors = []
    for k in range(4):
        if equal_mass:
            errors.append(sum(n * gap for n, gap in equal_mass_gaps(label == k, score[:, k], 10)) / 120)
        else:
            errors.append(loop(label == k, score[:, k], 10))
    assert found == pytest.approx(np.mean(errors), abs=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_bands_equal_scipy_and_statsmodels(level):
    rng = np.random.default_rng(1)
    score = np.concatenate([rng.uniform(0, 0.8, size=170), [0, 0.15]])
    truth = rng.uniform(size=len(score)) < score
    found = reliability(truth, score, 5)
    bands = reliability_bands(truth, score, 5, level=level)
    at = np.clip(np.ceil(score * 5).astype(int) - 1, 0, 4)
    for b in range(4):
        images = found.images[b]
        spread = poisson_binom(score[at == b])
        assert bands.consistent_low[b] == spread.ppf((1 - level) / 2) / images
        assert bands.consistent_high[b] == spread.ppf((1 + level) / 2) / images
        wilson = proportion_confint(truth[at == b].sum(), images, 1 - level, method="wilson")
        assert (bands.wilson_low[b], bands.wilson_high[b]) == pytest.approx(wilson, abs=1e-12)
    assert found.images[4] == 0 and all(np.isnan(values[4]) for values in bands)


def test_small_consistency_band_by_counting_all_outcomes():
    score = np.array([0.1, 0.3, 0.35, 0.6, 0.9])
    chance = np.zeros(6)
    for outcome in itertools.product((0, 1), repeat=5):
        chance[sum(outcome)] += np.prod(np.where(outcome, score, 1 - score))
    low, high = (np.argmax(np.cumsum(chance) >= q) / 5 for q in (0.1, 0.9))
    found = reliability_bands(np.ones(5, bool), score, 1, level=0.8)
    assert (found.consistent_low[0], found.consistent_high[0]) == (low, high)


def test_a_calibrated_model_stays_in_its_consistency_band():
    rng = np.random.default_rng(2)
    score = rng.beta(0.4, 2, size=6000)
    low, high, *_ = reliability_bands(np.zeros(6000, bool), score, 10, equal_mass=True)
    seen = np.stack(
        [reliability(rng.uniform(size=6000) < score, score, 10, equal_mass=True).frequency for _ in range(400)]
    )
    inside = ((seen >= low) & (seen <= high)).mean(axis=0)
    # 95 % or more, as counts are whole; a band twice too wide would hold all, one of 90 % too few.
    assert (inside > 0.92).all() and 0.945 < inside.mean() < 0.985


@pytest.mark.parametrize("seed", range(6))
def test_recalibration_equals_statsmodels(seed):
    rng = np.random.default_rng(seed)
    size = (25, 100, 1000)[seed % 3]
    score = rng.beta(0.3, 0.5, size=size)
    truth = rng.uniform(size=size) < expit(0.5 * logit(np.clip(score, 1e-9, 1 - 1e-9)) - 0.4)
    x = logit(np.clip(score, 2.3e-16, 1 - 2.3e-16))
    found = recalibration(truth, score)
    shift = sm.GLM(truth.astype(int), np.ones(size), family=sm.families.Binomial(), offset=x).fit(tol=1e-14)
    line = sm.GLM(truth.astype(int), sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14)
    assert found.reasons == {}
    assert found.in_the_large == pytest.approx((shift.params[0], shift.bse[0]), rel=1e-6)
    assert found.intercept == pytest.approx((line.params[0], line.bse[0]), rel=1e-6, abs=1e-9)
    assert found.slope == pytest.approx((line.params[1], line.bse[1]), rel=1e-6)


def test_recalibration_finds_what_was_planted():
    rng = np.random.default_rng(3)
    line = rng.normal(-1, 1.5, size=100_000)
    found = recalibration(rng.uniform(size=line.size) < expit(line), expit((line - 0.5) / 0.8))
    for estimate, true in ((found.intercept, 0.5), (found.slope, 0.8)):
        assert abs(estimate.value - true) < 3 * estimate.se < 0.1
    same = recalibration(rng.uniform(size=line.size) < expit(line), expit(line))
    assert abs(same.in_the_large.value) < 3 * same.in_the_large.se < 0.03


def test_recalibration_of_scores_of_zero_and_one():
    score = np.repeat([0.0, 1.0], 50)
    truth = np.concatenate([np.arange(50) < 5, np.arange(50) < 40])
    found = recalibration(truth, score)
    reach = -logit(np.finfo(float).eps)
    slope = (logit(0.8) - logit(0.1)) / (2 * reach)  # two groups: the line goes through their frequencies
    assert found.slope.value == pytest.approx(slope, rel=1e-6)
    assert found.intercept.value == pytest.approx(logit(0.8) - slope * reach, rel=1e-6)


def test_recalibration_that_is_undefined_says_why():
    score = np.array([0.1, 0.2, 0.3, 0.4])
    names = {"in_the_large", "intercept", "slope"}
    for truth, lack in ((np.ones(4, bool), "negative "), (np.zeros(4, bool), "positive "), (np.zeros(0, bool), "")):
        found = recalibration(truth, score[: len(truth)])
        assert found[:3] == (None, None, None) and found.reasons == dict.fromkeys(names, f"no {lack}image")
    for truth in ([False, False, True, True], [True, False, False, False]):
        found = recalibration(np.array(truth), score)
        assert found.in_the_large is not None and found.slope is None and found.intercept is None
        assert set(found.reasons) == names - {"in_the_large"} and "perfectly" in found.reasons["slope"]
    tied = recalibration(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.2, 0.4]))
    assert tied.slope is None and "perfectly" in tied.reasons["slope"]
    equal = recalibration(np.array([False, True, True, True]), np.full(4, 0.6))
    assert equal.in_the_large.value == pytest.approx(logit(0.75) - logit(0.6))
    assert equal.slope is None and equal.reasons["slope"] == "all scores are equal"
