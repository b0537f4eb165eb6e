"""The hierarchical model against the eight schools, integration by brute force, closed forms, and simulation."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.interpolate import CubicSpline
from statsmodels.stats.meta_analysis import combine_effects

from attn_jax.errors import UserError
from attn_jax.evaluation.hierarchical import posterior

# Gelman et al., Bayesian Data Analysis, 3rd ed., table 5.2.
SCHOOLS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
AUC, AUC_ERRORS = np.array([0.021, 0.004, -0.008, 0.015]), np.array([0.010, 0.006, 0.012, 0.007])


class BruteForce:
    """The joint density of mu and tau on a grid, theta integrated out of the likelihood; Simpson's rule."""

    def __init__(self, d, s, tau_scale, mu_range, tau_end, points=701):
        self.mu, self.tau = np.linspace(*mu_range, points)[:, None], np.linspace(0, tau_end, points)
        log_density = -0.5 * (self.tau / tau_scale) ** 2
        for of, se in zip(d, s, strict=True):
            variance = se**2 + self.tau**2
            log_density = log_density - 0.5 * (of - self.mu) ** 2 / variance - 0.5 * np.log(variance)
        self.density = np.exp(log_density - log_density.max())
        self.density /= self.mean(1.0)

    def mean(self, values):
        over_tau = integrate.simpson(self.density * values, x=self.tau, axis=1)
        return integrate.simpson(over_tau, x=self.mu[:, 0])

    def moments(self, first, second):
        return self.mean(first), math.sqrt(self.mean(second) - self.mean(first) ** 2)

    def mu_below(self, *at):
        marginal = CubicSpline(self.mu[:, 0], integrate.simpson(self.density, x=self.tau, axis=1))
        return [float(marginal.integrate(self.mu[0, 0], end)) for end in at]

    def tau_below(self, *at):
        marginal = CubicSpline(self.tau, integrate.simpson(self.density, x=self.mu[:, 0], axis=0))
        return [float(marginal.integrate(0, end)) for end in at]

    def normal_below(self, mean, sd, *at):
        return [self.mean(stats.norm.cdf((end - mean) / np.maximum(sd, 1e-12))) for end in at]


@pytest.mark.parametrize(
    ("d", "s", "scale", "mu_range", "tau_end"),
    [
        (SCHOOLS, ERRORS, 10.0, (-70, 90), 80),
        (AUC, AUC_ERRORS, 0.02, (-0.2, 0.2), 0.13),
        (AUC[:2], AUC_ERRORS[:2], 0.01, (-0.12, 0.14), 0.07),
    ],
)
def test_equals_integration_by_brute_force(d, s, scale, mu_range, tau_end):
    found, brute = posterior(d, s, rope=s[0] / 3, tau_scale=scale), BruteForce(d, s, scale, mu_range, tau_end)
    mu, tau, unit = brute.mu, brute.tau, 1e-6 * s.mean()
    assert found.mu[:2] == pytest.approx(brute.moments(mu, mu**2), abs=unit)
    assert found.tau[:2] == pytest.approx(brute.moments(tau, tau**2), abs=unit)
    assert found.new[:2] == pytest.approx(brute.moments(mu, mu**2 + tau**2), abs=unit)
    assert brute.mu_below(*found.mu[2:]) == pytest.approx([0.025, 0.975], abs=1e-6)
    assert brute.tau_below(*found.tau[2:]) == pytest.approx([0.025, 0.975], abs=1e-6)
    left, not_right = brute.mu_below(-s[0] / 3, s[0] / 3)
    assert found.mu_rope == pytest.approx((left, not_right - left, 1 - not_right), abs=1e-6)
    # Where tau is 0 the next two have steps, which cost the brute force its digits, not the mixture.
    assert brute.normal_below(mu, tau, *found.new[2:]) == pytest.approx([0.025, 0.975], abs=1e-4)
    for theta, of, se in zip(found.theta, d, s, strict=True):
        kept = tau**2 / (se**2 + tau**2)
        mean, sd = kept * of + (1 - kept) * mu, np.sqrt(kept) * se
        assert theta[:2] == pytest.approx(brute.moments(mean, mean**2 + sd**2), abs=unit)
        assert brute.normal_below(mean, sd, *theta[2:]) == pytest.approx([0.025, 0.975], abs=1e-4)


def test_eight_schools_as_stan_samples_them():
    # The example of RStan's "Getting Started" (the same uniform priors), as printed after 20 000 draws: mean, sd, 2.5 %
    # and 97.5 %. The standard errors of its means are 0.04 to 0.07.
    expected = {
        "mu": (7.95, 5.06, -1.73, 18.32),
        "tau": (6.49, 5.56, 0.22, 20.48),
        0: (11.32, 8.25, -2.04, 31.17),
        1: (7.87, 6.21, -4.41, 20.50),
        2: (6.14, 7.68, -11.14, 20.25),
        3: (7.66, 6.46, -5.23, 20.78),
        4: (5.15, 6.36, -8.80, 16.35),
        5: (6.21, 6.64, -8.44, 18.77),
        6: (10.61, 6.75, -1.25, 25.78),
        7: (8.45, 7.91, -7.29, 25.51),
    }
    found = posterior(SCHOOLS, ERRORS, rope=5, tau_scale=math.inf)
    for name, (mean, sd, *ends) in expected.items():
        summary = found.theta[name] if isinstance(name, int) else getattr(found, name)
        assert summary[:2] == pytest.approx((mean, sd), abs=0.16), name
        assert summary[2:] == pytest.approx(ends, abs=0.5), name


@pytest.mark.parametrize("scale", [1e-9, 1e-6])
def test_no_variation_is_the_fixed_effect_meta_analysis(scale):
    found = posterior(AUC, AUC_ERRORS, rope=0.01, tau_scale=scale)
    fixed = combine_effects(AUC, AUC_ERRORS**2)
    for summary in (found.mu, found.new, *found.theta):
        # Of the order of (scale / s)^2.
        assert summary[:2] == pytest.approx((fixed.mean_effect_fe, fixed.sd_eff_w_fe), rel=1e-6)
    interval = stats.norm(fixed.mean_effect_fe, fixed.sd_eff_w_fe)
    assert found.mu[2:] == pytest.approx(interval.ppf([0.025, 0.975]), rel=1e-6)
    rope = (interval.cdf(-0.01), interval.cdf(0.01) - interval.cdf(-0.01), interval.sf(0.01))
    assert found.mu_rope == pytest.approx(rope, rel=1e-6) and found.new_rope == pytest.approx(rope, rel=1e-6)


def test_exact_differences_are_a_sample_of_normals_and_mu_has_a_t_distribution():
    # Known theta_i and p(tau) = 1: tau^2 is inverse gamma, mu and theta_new are t with k - 2 degrees of freedom.
    d = np.array([0.02, -0.01, 0.035, 0.01, 0.0, 0.022, 0.015])
    found = posterior(d, np.full(7, 1e-8), rope=0.01, tau_scale=math.inf)
    squares = ((d - d.mean()) ** 2).sum()
    mu = stats.t(5, d.mean(), math.sqrt(squares / 5 / 7))
    new = stats.t(5, d.mean(), math.sqrt(squares / 5 * 8 / 7))
    for summary, rope, truth in ((found.mu, found.mu_rope, mu), (found.new, found.new_rope, new)):
        assert summary == pytest.approx((truth.mean(), truth.std(), *truth.ppf([0.025, 0.975])), abs=1e-9)
        assert rope == pytest.approx((truth.cdf(-0.01), truth.cdf(0.01) - truth.cdf(-0.01), truth.sf(0.01)), abs=1e-8)
    variance = stats.invgamma(5 / 2, scale=squares / 2)
    assert found.tau[2:] == pytest.approx(np.sqrt(variance.ppf([0.025, 0.975])), rel=1e-8)
    assert found.tau.mean == pytest.approx(math.sqrt(squares / 2) * math.gamma(2) / math.gamma(2.5), rel=1e-8)
    assert [summary.mean for summary in found.theta] == pytest.approx(d, abs=1e-9)


def test_units_signs_and_order_do_not_matter():
    base = posterior(AUC, AUC_ERRORS, rope=0.01, tau_scale=0.05)
    points = posterior(100 * AUC[::-1], 100 * AUC_ERRORS[::-1], rope=1, tau_scale=5)
    turned = posterior(-AUC, AUC_ERRORS, rope=0.01, tau_scale=0.05)
    for name in ("mu", "tau", "new"):
        assert getattr(points, name) == pytest.approx([100 * value for value in getattr(base, name)], rel=1e-8)
    assert points.theta[0] == pytest.approx([100 * value for value in base.theta[3]], rel=1e-8)
    assert points.new_rope == pytest.approx(base.new_rope, rel=1e-8)
    assert turned.mu == pytest.approx((-base.mu.mean, base.mu.sd, -base.mu.high, -base.mu.low), rel=1e-8)
    assert turned.new_rope == pytest.approx(base.new_rope[::-1], rel=1e-8)
    assert sum(base.mu_rope) == pytest.approx(1) and base.mu_rope.inside > base.new_rope.inside
    for summary, of in zip(base.theta, AUC, strict=True):
        assert min(of, base.mu.mean) < summary.mean < max(of, base.mu.mean)


def test_a_prior_far_from_the_data_and_errors_of_many_sizes_are_integrated_too():
    d, s = np.array([0.5, -0.4, 0.1]), np.array([1e-4, 0.3, 1e-2])
    found = posterior(d, s, rope=0.01, tau_scale=0.001)

    def log_density(tau):
        spread = s**2 + tau**2
        weight = 1 / spread
        rest = (weight * (d - weight @ d / weight.sum()) ** 2).sum() + np.log(spread).sum() + math.log(weight.sum())
        return -0.5 * (rest + (tau / 0.001) ** 2)

    most = max(map(log_density, np.linspace(0.005, 0.1, 50)))
    integrals = [
        integrate.quad(
            lambda tau, k=k: tau**k * math.exp(log_density(tau) - most), 0, 0.2, points=[0.01, 0.02, 0.05], epsrel=1e-11
        )
        for k in range(3)
    ]
    whole, first, second = (integral[0] for integral in integrals)
    mean = first / whole
    assert found.tau[:2] == pytest.approx((mean, math.sqrt(second / whole - mean**2)), rel=1e-7)


def test_intervals_and_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    covered, promised, happened = [], [], []
    for _ in range(150):
        # A wide mu, so that the flat prior is about true.
        mu, tau, s = rng.uniform(-0.2, 0.2), abs(rng.normal(scale=0.05)), rng.uniform(0.005, 0.04, size=5)
        theta = mu + tau * rng.normal(size=6)
        found = posterior(theta[:5] + s * rng.normal(size=5), s, rope=0.06, tau_scale=0.05)
        asked = ((found.mu, mu), (found.tau, tau), (found.new, theta[5]), (found.theta[0], theta[0]))
        covered.append([summary.low < truth < summary.high for summary, truth in asked])
        promised.append(found.new_rope)
        happened.append((theta[5] < -0.06, abs(theta[5]) <= 0.06, theta[5] > 0.06))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)
    assert (np.mean(covered, axis=0) > 0.89).all()
    np.testing.assert_allclose(np.mean(promised, axis=0), np.mean(happened, axis=0), atol=0.08)


def test_one_data_set_says_nothing_about_the_next():
    found = posterior(np.array([0.02]), np.array([0.01]), rope=0.01)
    assert {name for name, value in found._asdict().items() if value is None} == set(found.undefined)
    assert set(found.undefined) == {"mu", "tau", "new", "mu_rope", "new_rope"} and "1 data set" in found.undefined["mu"]
    assert found.theta[0] == pytest.approx((0.02, 0.01, *stats.norm(0.02, 0.01).ppf([0.025, 0.975])))
    none = posterior(np.zeros(0), np.zeros(0), rope=0.01)
    assert none.theta == () and none.mu is None and "0 data sets" in none.undefined["new"]


@pytest.mark.parametrize(
    ("d", "s", "scale", "words"),
    [
        ([0.1, 0.2], [0.01, 0.0], 0.05, "data set 1 has difference 0.2 and standard error 0"),
        ([0.1], [math.nan], 0.05, "data set 0"),
        ([0.1, 0.2, 0.3, 0.4], [0.1] * 4, math.inf, "uniform prior on tau wants 5"),
    ],
)
def test_what_cannot_be_computed_has_a_reason(d, s, scale, words):
    found = posterior(np.array(d), np.array(s), rope=0.01, tau_scale=scale)
    assert found[:6] == (None,) * 6 and set(found.undefined) == set(found._fields[:6])
    assert all(words in reason for reason in found.undefined.values())


def test_mistakes():
    with pytest.raises(UserError, match="rope: -0.01"):
        posterior(AUC, AUC_ERRORS, rope=-0.01)
    with pytest.raises(UserError, match="tau_scale: 0 "):
        posterior(AUC, AUC_ERRORS, rope=0.01, tau_scale=0)
    with pytest.raises(ValueError, match="4 differences and 3"):
        posterior(AUC, AUC_ERRORS[:3], rope=0.01)
