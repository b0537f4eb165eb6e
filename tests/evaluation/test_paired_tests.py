"""Paired tests against statsmodels and scipy, an exhaustive permutation, and their false-positive rate at the null."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar

from attn_jax.evaluation.paired_tests import mcnemar, permutation, wilcoxon
from attn_jax.evaluation.panel import panels
from attn_jax.evaluation.records import Predictions


def panel_of(truth, scores, group=None):
    """One run for each of the models `a`, `b`, ..."""
    sources = []
    for name, score in zip("abcdef", scores, strict=False):
        score = 1 / (1 + np.exp(-score))
        pair = np.stack([1 - score, score], axis=1)
        sources.append((name, Predictions(np.arange(len(truth)), truth.astype(int), pair, ("no", "yes"), group=group)))
    (panel,) = panels(sources)
    return panel


def test_permutation_is_the_exhaustive_one():
    rng = np.random.default_rng(0)
    truth = np.arange(10) % 2 == 0
    scores = rng.normal(truth, 1, size=(2, 10))
    ranks = stats.rankdata(scores, axis=1)
    observed = abs(roc_auc_score(truth, ranks[0]) - roc_auc_score(truth, ranks[1]))
    as_large = []
    for swap in itertools.product([False, True], repeat=10):
        one, other = np.where(swap, ranks[::-1], ranks)
        as_large.append(abs(roc_auc_score(truth, one) - roc_auc_score(truth, other)) >= observed - 1e-12)
    found = permutation(panel_of(truth, scores), "a", "b", "auc", count=4000)
    assert found.p == pytest.approx(np.mean(as_large), abs=0.03)


def test_each_swap_of_areas_is_the_area_after_the_swap():
    rng = np.random.default_rng(7)
    truth, patient = np.arange(24) % 3 == 0, np.arange(24) // 2
    # Few values, so that scores tie within and between models; two seeds.
    scores = {(model, seed): rng.integers(0, 5, size=24) / 5 for model in "ab" for seed in "01"}
    sources = [
        (
            model,
            Predictions(
                np.arange(24),
                truth.astype(int),
                np.stack([1 - of, of], 1),
                ("no", "yes"),
                model=model,
                seed=seed,
                group=patient,
            ),
        )
        for (model, seed), of in scores.items()
    ]
    ranks = {name: stats.rankdata(of) for name, of in scores.items()}
    (panel,) = panels(sources)

    def difference(swap):
        found = []
        for seed in "01":
            one, other = np.where(swap, [ranks["b", seed], ranks["a", seed]], [ranks["a", seed], ranks["b", seed]])
            found.append(roc_auc_score(truth, one) - roc_auc_score(truth, other))
        return np.mean(found)

    sides = np.random.default_rng(3).integers(0, 2, size=(200, 12))[:, panel.cluster]
    observed = abs(difference(np.zeros(24, bool)))
    hits = sum(abs(difference(side == 0)) >= observed - 1e-12 for side in sides)
    assert 0 < hits < 200
    assert permutation(panel, "a", "b", "auc", count=200, seed=3).p == (1 + hits) / 201


@pytest.mark.parametrize("kind", ["single", "multilabel"])
def test_swaps_of_several_classes_are_those_of_their_mean_area(kind):
    rng = np.random.default_rng(8)
    if kind == "single":
        label = rng.integers(0, 3, size=30)
        truth = label[:, None] == np.arange(3)
        score = rng.dirichlet(np.ones(3), size=(2, 30))
    else:
        label = rng.integers(0, 2, size=(30, 3)).astype(float)
        label[:5, 0], label[:, 2] = np.nan, 0
        truth, score = label, rng.uniform(size=(2, 30, 3))
    classes = ("x", "y", "z")
    sources = [
        (m, Predictions(np.arange(30), label, s, classes, kind, model=m)) for m, s in zip("ab", score, strict=True)
    ]
    (panel,) = panels(sources)

    def difference(swap):
        found = []
        for k in range(3):
            known = ~np.isnan(truth[:, k]) if kind == "multilabel" else np.ones(30, bool)
            if len(np.unique(truth[known, k])) == 2:
                # A model's ranks are among the images of which the label is known.
                own = stats.rankdata(score[:, known, k], axis=1)
                one, other = np.where(swap[known], own[::-1], own)
                found.append(roc_auc_score(truth[known, k], one) - roc_auc_score(truth[known, k], other))
        return np.mean(found)

    sides = np.random.default_rng(3).integers(0, 2, size=(200, 30))[:, panel.cluster]
    hits = sum(abs(difference(side == 0)) >= abs(difference(np.zeros(30, bool))) - 1e-12 for side in sides)
    assert 0 < hits < 200
    assert permutation(panel, "a", "b", "auc", count=200, seed=3).p == (1 + hits) / 201
    assert permutation(panel, "a", "b", "brier").p is None


def test_permutation_of_decisions_is_mcnemars_exact_test():
    rng = np.random.default_rng(1)
    truth = rng.uniform(size=60) < 0.5
    scores = np.stack([rng.normal(2 * truth - 1, 1), rng.normal(0.6 * truth - 0.3, 1)])
    panel = panel_of(truth, scores)
    exact = mcnemar(panel.runs["a"][""].right, panel.runs["b"][""].right, panel.cluster)
    assert permutation(panel, "a", "b", "accuracy", count=5000).p == pytest.approx(exact.p, abs=0.02)


def test_patients_swap_as_one():
    rng = np.random.default_rng(2)
    truth = np.repeat(rng.uniform(size=4) < 0.5, 10)
    truth[:10], truth[10:20] = True, False
    scores = np.stack([truth + rng.normal(0, 0.1, 40), rng.normal(0, 0.1, 40)])
    group = np.repeat(np.arange(4), 10).astype(str)
    # Four patients have 16 ways to swap, two of which are as extreme as what was seen.
    assert permutation(panel_of(truth, scores, group), "a", "b", "auc", count=2000).p > 0.08
    assert permutation(panel_of(truth, scores), "a", "b", "auc", count=2000).p < 0.001


def test_mcnemar_is_statsmodels():
    rng = np.random.default_rng(3)
    first, second = rng.uniform(size=200) < 0.8, rng.uniform(size=200) < 0.7
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    table = [[0, wins], [losses, 0]]
    assert mcnemar(first, second, np.arange(200)).p == pytest.approx(sm_mcnemar(table, exact=True).pvalue)
    # Two seeds that say the same are one.
    twice = mcnemar(np.tile(first, 2), np.tile(second, 2), np.tile(np.arange(200), 2))
    assert twice.p == pytest.approx(sm_mcnemar(table, exact=True).pvalue)
    few = mcnemar(np.ones(10, bool), np.zeros(10, bool), np.repeat(np.arange(5), 2))
    assert few.p == pytest.approx(2 / 2**5) and few.about == "these networks, other patients"
    assert mcnemar(np.tile(first, 2), np.tile(first, 2), np.tile(np.arange(200), 2)).p == 1


def test_wilcoxon_needs_six_seeds():
    values = np.array([0.01, 0.02, 0.03, 0.011, 0.025, 0.031])
    assert wilcoxon(values).p == pytest.approx(2 / 2**6)
    assert wilcoxon(values).p == pytest.approx(stats.wilcoxon(values).pvalue)
    fewer = wilcoxon(values[:5])
    assert fewer.p is None and "5 of the 6 seeds" in fewer.reason
    assert wilcoxon(np.zeros(6)).p == 1
    assert wilcoxon(np.full(6, np.nan)).p is None


def test_false_positives_at_the_null():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(30), 2).astype(str)
    rejected = {"permutation": 0, "mcnemar": 0}
    for _ in range(200):
        truth = np.repeat(rng.uniform(size=30) < 0.5, 2)
        shared = rng.normal(truth, 1) + np.repeat(rng.normal(0, 0.5, 30), 2)
        panel = panel_of(truth, shared + rng.normal(0, 1, size=(2, 60)) - 0.5, group)
        rejected["permutation"] += permutation(panel, "a", "b", "auc", count=199).p <= 0.05
        right = [panel.runs[model][""].right for model in "ab"]
        rejected["mcnemar"] += mcnemar(*right, panel.cluster).p <= 0.05
    # 200 trials of 5 %: 10, at most 20 but once in 500.
    assert max(rejected.values()) <= 20 and min(rejected.values()) >= 2
