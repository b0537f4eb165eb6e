"""Comparisons over data sets against Demsar's worked example, scipy, statsmodels, scikit-posthocs and enumeration."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from attn_jax.errors import UserError
from attn_jax.evaluation.over_datasets import average_ranks, compare, friedman, nemenyi, wilcoxon_holm

# Demsar 2006, Table 6: AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets. In "voting" (the last but one) the
# table prints 0.975 twice but ranks C4.5+cf second and C4.5+m+cf third: 0.9751 stands for the digits it leaves out.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def table(seed, datasets, models, ties=False) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(datasets, models)) + np.arange(models) / 4
    return np.round(values) / 10 if ties else values


def test_the_worked_example():
    ranks = average_ranks(DEMSAR)
    np.testing.assert_allclose(ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    # He does not correct for ties: three pairs and once all four of 14 rows, sum(t^3 - t) / (N (k^3 - k)) = 78 / 840.
    chi_square = friedman(DEMSAR).chi_square * (1 - 78 / 840)
    assert chi_square == pytest.approx(9.28, abs=5e-3)
    at_5, at_10 = nemenyi(DEMSAR), nemenyi(DEMSAR, alpha=0.10)
    assert at_5.critical_difference == pytest.approx(1.25, abs=5e-3) and at_5.groups == ((3, 1, 2, 0),)
    # Figure 1a: at 0.10 C4.5 is worse than C4.5+m and C4.5+m+cf, and C4.5+cf is in both groups.
    assert at_10.critical_difference == pytest.approx(1.12, abs=5e-3) and at_10.groups == ((3, 1, 2), (2, 0))
    assert np.argwhere(at_10.p < 0.10).tolist() == [[0, 1], [0, 3], [1, 0], [3, 0]]


def test_demsars_f_without_ties():
    values = table(0, 12, 6)
    found, ranks = friedman(values), average_ranks(values)
    chi_square = 12 * 12 / (6 * 7) * (ranks @ ranks - 6 * 7**2 / 4)
    assert found.chi_square == pytest.approx(chi_square)
    assert found.f == pytest.approx(11 * chi_square / (12 * 5 - chi_square))
    assert found.caution is None and friedman(values[:, :5]).caution and friedman(values[:10]).caution


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_friedman_equals_scipy_and_f_an_analysis_of_variance_of_ranks(seed, ties):
    values = table(seed, 8, 5, ties)
    found = friedman(values)
    assert (found.chi_square, found.chi_square_p) == pytest.approx(tuple(stats.friedmanchisquare(*values.T)), rel=1e-9)
    ranks = (
        pd.DataFrame(stats.rankdata(-values, axis=1)).stack().rename_axis(["data", "model"]).reset_index(name="rank")
    )
    anova = AnovaRM(ranks, "rank", "data", ["model"]).fit().anova_table.iloc[0]
    assert (found.f, found.f_p) == pytest.approx((anova["F Value"], anova["Pr > F"]), rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_data_sets_that_all_agree_have_an_exact_p(ties):
    values = np.tile([0.7, 0.7, 0.9] if ties else [0.7, 0.8, 0.9], (5, 1))
    found = friedman(values)
    assert found.f is None and "alike" in found.undefined["f"] and found.chi_square == pytest.approx(10)
    rows = set(itertools.permutations(values[0]))
    agreeing = sum(len(set(chosen)) == 1 for chosen in itertools.product(rows, repeat=5))
    assert found.f_p == pytest.approx(agreeing / len(rows) ** 5)


@pytest.mark.parametrize(("datasets", "models", "ties"), [(5, 3, False), (9, 6, True), (30, 10, False)])
def test_nemenyi_equals_scikit_posthocs_and_the_critical_difference(datasets, models, ties):
    values = table(1, datasets, models, ties)
    found = nemenyi(values)
    expected = scikit_posthocs.posthoc_nemenyi_friedman(values).to_numpy()
    np.testing.assert_allclose(found.p, expected, atol=1e-9)
    ranks = average_ranks(values)
    apart = np.abs(ranks[:, None] - ranks)
    assert ((apart >= found.critical_difference) == (expected <= 0.05)).all()


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_all_maximal_sets_without_a_significant_pair(seed):
    values = table(seed, 30, 7)
    found = nemenyi(values)
    alike = [
        set(chosen)
        for size in range(2, 8)
        for chosen in itertools.combinations(range(7), size)
        if all(found.p[i, j] > 0.05 for i, j in itertools.combinations(chosen, 2))
    ]
    maximal = [chosen for chosen in alike if not any(chosen < other for other in alike)]
    assert sorted(map(sorted, found.groups)) == sorted(map(sorted, maximal))
    best_first = average_ranks(values)
    assert all((np.diff(best_first[list(group)]) >= 0).all() for group in found.groups)


@pytest.mark.parametrize("datasets", [5, 12, 30])
def test_wilcoxon_equals_scipy_and_holm(datasets):
    values = table(2, datasets, 4)
    found = wilcoxon_holm(values)
    assert [pair[:2] for pair in found.pairs] == list(itertools.combinations(range(4), 2))
    p = [stats.wilcoxon(values[:, i], values[:, j], method="exact").pvalue for i, j, *_ in found.pairs]
    assert [pair.p for pair in found.pairs] == pytest.approx(p, rel=1e-9)
    adjusted = multipletests(p, method="holm")[1]
    assert [pair.adjusted for pair in found.pairs] == pytest.approx(adjusted, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_wilcoxon_with_ties_and_zeros_equals_all_flips_of_sign(seed):
    values = np.random.default_rng(seed).integers(0, 4, size=(9, 2)) / 10
    difference = np.round(values[:, 0] - values[:, 1], 6)
    ranks = stats.rankdata(np.abs(difference))
    flips = np.array(list(itertools.product([-1, 1], repeat=9))) * np.sign(np.abs(difference))
    sums, seen = flips @ ranks, np.sign(difference) @ ranks
    expected = min(1.0, 2 * min(np.mean(sums >= seen), np.mean(sums <= seen)))
    (pair,) = wilcoxon_holm(values).pairs
    assert pair.p == pytest.approx(expected, rel=1e-12)


def test_a_baseline_has_fewer_comparisons_to_pay_for():
    values = table(3, 10, 5)
    every, against = wilcoxon_holm(values), wilcoxon_holm(values, baseline=2)
    assert [(pair.first, pair.second) for pair in against.pairs] == [(2, 0), (2, 1), (2, 3), (2, 4)]
    known = {frozenset(pair[:2]): pair for pair in every.pairs}
    assert all(pair.p == known[frozenset(pair[:2])].p for pair in against.pairs)
    assert all(pair.adjusted <= known[frozenset(pair[:2])].adjusted for pair in against.pairs)


@pytest.mark.parametrize("datasets", [5, 8])
def test_the_smallest_p_is_that_of_a_model_that_always_wins(datasets):
    found = wilcoxon_holm(np.arange(datasets)[:, None] / 7 + np.arange(1, datasets + 1)[:, None] * [0.0, 0.01, 0.02])
    assert {pair.p for pair in found.pairs} == {found.smallest_p} == {2 / 2**datasets}
    assert min(pair.adjusted for pair in found.pairs) == found.smallest_adjusted == 3 * found.smallest_p


def test_rounding_makes_and_breaks_no_ties():
    values = np.array([[0.1 + 0.2, 0.3, 0.4]] * 3 + [[0.5, 0.4, 0.3]] * 3)
    assert average_ranks(values).tolist() == [1.75, 2.25, 2.0]
    (pair,) = wilcoxon_holm(np.array([[0.3, 0.2], [0.2, 0.1], [0.9, 0.8], [0.4, 0.5], [0.6, 0.5]])).pairs
    assert pair.p == pytest.approx(2 * 6 / 32)  # one of five equal differences the other way


def test_models_that_all_differ_have_no_groups():
    assert nemenyi(np.tile([0.6, 0.9, 0.7, 0.8], (30, 1))).groups == ()


def test_order_of_data_sets_and_scale_do_not_matter():
    values = table(4, 9, 4)
    base, moved = compare(values, baseline=0), compare(np.exp(values[::-1]), baseline=0)
    np.testing.assert_allclose(moved.ranks, base.ranks)
    assert moved.friedman[:4] == pytest.approx(base.friedman[:4])
    assert moved.nemenyi.groups == base.nemenyi.groups
    turned = compare(-values, baseline=0)
    np.testing.assert_allclose(turned.ranks, 5 - base.ranks)
    assert turned.against_baseline == base.against_baseline and compare(values).against_baseline is None


def test_too_few_is_said_and_ranks_remain():
    few = compare(table(0, 4, 3), baseline=0)
    assert few.ranks.sum() == pytest.approx(6)
    assert few.friedman[:4] == (None,) * 4 and "4 data sets" in few.friedman.undefined["f"]
    assert few.nemenyi[:3] == (None,) * 3 and "4 data sets" in few.nemenyi.reason
    assert few.all_pairs[:3] == few.against_baseline[:3] == (None,) * 3 and "4 data sets" in few.all_pairs.reason
    two = compare(table(0, 6, 2))
    assert two.friedman.f_p is None and "2 models" in two.nemenyi.reason and len(two.all_pairs.pairs) == 1
    assert np.isnan(average_ranks(np.zeros((0, 3)))).all() and "0 data sets" in nemenyi(np.zeros((0, 3))).reason


def test_models_that_are_all_equal():
    found = compare(np.full((6, 3), 0.8))
    assert found.ranks.tolist() == [2, 2, 2] and "equal" in found.friedman.undefined["chi_square"]
    assert (found.nemenyi.p == 1).all() and found.nemenyi.groups == ((0, 1, 2),)
    assert all(pair.p == pair.adjusted == 1 for pair in found.all_pairs.pairs)


def test_chance_findings_are_as_rare_as_promised():
    rng = np.random.default_rng(0)
    found = [compare(rng.normal(size=(15, 4))) for _ in range(250)]
    promised = pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 250))
    assert np.mean([one.friedman.f_p < 0.05 for one in found]) == promised
    assert np.mean([len(one.nemenyi.groups[0]) < 4 for one in found]) == promised
    # Holm promises at most 0.05.
    assert np.mean([min(pair.adjusted for pair in one.all_pairs.pairs) < 0.05 for one in found]) < 0.05 + 0.041


def test_mistakes():
    values = table(0, 5, 3)
    with pytest.raises(UserError, match="no model 3"):
        wilcoxon_holm(values, baseline=3)
    with pytest.raises(UserError, match="alpha: 1 "):
        nemenyi(values, alpha=1)
    values[3, 1] = np.nan
    with pytest.raises(UserError, match="model 1 has no finite value on data set 3"):
        average_ranks(values)
