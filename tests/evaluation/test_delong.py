"""DeLong's variance against the paper's own example, the definition in plain loops, the jackknife and simulation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attn_jax.evaluation import delong

# DeLong et al. 1988: albumin, total protein, K-G score (lower is better) and whether surgery helped, of 43 patients
# with ovarian cancer.
PATIENTS = """
3.0 5.8 10 0, 3.2 6.3 5 1, 3.9 6.8 3 1, 2.8 4.8 6 0, 3.2 5.8 3 1, 0.9 4.0 5 0, 2.5 5.7 8 0, 1.6 5.6 5 1, 3.8 5.7 5 1,
3.7 6.7 6 1, 3.2 5.4 4 1, 3.8 6.6 6 1, 4.1 6.6 5 1, 3.6 5.7 5 1, 4.3 7.0 4 1, 3.6 6.7 4 0, 2.3 4.4 6 1, 4.2 7.6 4 0,
4.0 6.6 6 0, 3.5 5.8 6 1, 3.8 6.8 7 1, 3.0 4.7 8 0, 4.5 7.4 5 1, 3.7 7.4 5 1, 3.1 6.6 6 1, 4.1 8.2 6 1, 4.3 7.0 5 1,
4.3 6.5 4 1, 3.2 5.1 5 1, 2.6 4.7 6 1, 3.3 6.8 6 0, 1.7 4.0 7 0, 3.7 6.1 5 1, 3.3 6.3 7 1, 4.2 7.7 6 1, 3.5 6.2 5 1,
2.9 5.7 9 0, 2.1 4.8 7 1, 2.8 6.2 8 0, 4.0 7.0 7 1, 3.3 5.7 6 1, 3.7 6.9 5 1, 3.6 6.6 5 1
"""


def test_the_papers_example():
    # Areas, standard errors and intervals as SAS/STAT publishes them (PROC LOGISTIC, "Comparing Receiver Operating
    # Characteristic Curves"), to the four places given there.
    albumin, protein, score, helped = np.array([row.split() for row in PATIENTS.split(",")], float).T
    found = delong.areas(helped == 1, np.stack([albumin, 10 - score, protein]))
    np.testing.assert_allclose(found.auc, [0.7366, 0.7258, 0.6478], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), [0.0927, 0.1028, 0.1000], atol=5e-5)
    for contrast, *published in (
        ((1, -1, 0), 0.0108, 0.0953, -0.1761, 0.1976),
        ((0, -1, 1), -0.0780, 0.1046, -0.2830, 0.1271),
    ):
        apart = delong.difference(found, np.array(contrast, float))
        assert (apart.value, apart.error, apart.interval.low, apart.interval.high) == pytest.approx(
            published, abs=5.1e-5
        )


def plain(truth, scores):
    """Kernel sums as in the paper's equations (3) to (5)."""
    models = []
    for score in scores:
        kernel = np.array([[(x > y) + 0.5 * (x == y) for y in score[~truth]] for x in score[truth]])
        models.append((kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()))
    m, n = truth.sum(), (~truth).sum()
    covariance = np.empty((len(scores), len(scores)))
    for i, (p, q, a) in enumerate(models):
        for j, (r, s, b) in enumerate(models):
            first = sum((x - a) * (y - b) for x, y in zip(p, r, strict=True)) / (m - 1)
            second = sum((x - a) * (y - b) for x, y in zip(q, s, strict=True)) / (n - 1)
            covariance[i, j] = first / m + second / n
    return [model[2] for model in models], covariance


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("count", [12, 60])
def test_equals_plain_loops(count, decimals):
    rng = np.random.default_rng(count)
    truth = np.arange(count) % 3 == 0
    scores = np.round(rng.uniform(size=(3, count)) + 0.3 * truth, decimals)
    found = delong.areas(truth, scores)
    auc, covariance = plain(truth, scores)
    np.testing.assert_allclose(found.auc, auc, rtol=1e-12)
    np.testing.assert_allclose(found.auc, [roc_auc_score(truth, score) for score in scores], rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10, atol=1e-15)


def test_one_image_a_patient_is_nearly_delong():
    rng = np.random.default_rng(3)
    truth = rng.uniform(size=400) < 0.4
    scores = rng.normal(truth, 1, size=(2, 400))
    alone, patients = delong.areas(truth, scores), delong.areas(truth, scores, np.arange(400))
    np.testing.assert_allclose(patients.covariance, alone.covariance, rtol=1e-12)


def test_copies_of_patients_add_no_knowledge():
    rng = np.random.default_rng(4)
    truth = rng.uniform(size=150) < 0.4
    scores = rng.normal(truth, 1, size=(2, 150))
    alone = delong.areas(truth, scores)
    copied = delong.areas(np.repeat(truth, 4), np.repeat(scores, 4, axis=1), np.repeat(np.arange(150), 4))
    np.testing.assert_allclose(copied.auc, alone.auc, rtol=1e-12)
    np.testing.assert_allclose(copied.covariance, alone.covariance, rtol=1e-12)


def test_patients_of_both_kinds_are_the_jackknifes():
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(300), 3)
    truth = rng.uniform(size=900) < 0.3
    score = rng.normal(truth, 1) + np.repeat(rng.normal(size=300), 3)
    variance = delong.areas(truth, score[None], cluster).covariance[0, 0]
    without = [roc_auc_score(truth[cluster != c], score[cluster != c]) for c in range(300)]
    jackknife = 299 / 300 * ((without - np.mean(without)) ** 2).sum()
    assert variance == pytest.approx(jackknife, rel=0.02)


def test_means_over_runs_are_a_contrast():
    rng = np.random.default_rng(7)
    truth = rng.uniform(size=80) < 0.4
    scores = rng.normal(truth, 1, size=(4, 80))
    found, (auc, covariance) = delong.areas(truth, scores), plain(truth, scores)
    compared = delong.difference(found, np.array([0.5, 0.5, -0.5, -0.5]))
    assert compared is not None
    assert compared.value == pytest.approx(np.mean(auc[:2]) - np.mean(auc[2:]))
    signs = np.outer([1, 1, -1, -1], [1, 1, -1, -1])
    assert compared.error**2 == pytest.approx((covariance * signs).sum() / 4)


def test_intervals_and_tests_at_the_edges():
    truth = np.array([True, True, True, False, False, False])
    score = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    found = delong.areas(truth, np.stack([score, score**2, -score]))
    assert delong.interval(found.auc[0], found.covariance[0, 0]) is None
    first, second, third = np.eye(3)
    same = delong.difference(found, first - second)
    assert same is not None and (same.value, same.p) == (0, 1)
    opposite = delong.difference(found, first - third)
    assert opposite is not None and opposite.value == 1 and opposite.p is None
    lonely = delong.areas(np.array([True, False, False]), np.array([[0.5, 0.6, 0.4]]))
    assert lonely.auc[0] == 0.5 and np.isnan(lonely.covariance[0, 0])
    assert np.isnan(delong.areas(np.array([True, True]), np.array([[0.5, 0.6]])).auc[0])


def test_the_test_keeps_its_level_and_the_interval_its_coverage():
    rng = np.random.default_rng(6)
    wrong = covered = 0
    for _ in range(1000):
        truth = np.arange(120) < 50
        shared = rng.normal(truth, 1)
        found = delong.areas(truth, np.stack([shared + rng.normal(size=120) * 0.5 for _ in range(2)]))
        compared = delong.difference(found, np.array([1.0, -1.0]))
        one = delong.interval(found.auc[0], found.covariance[0, 0])
        assert compared is not None and compared.p is not None and one is not None
        wrong += compared.p < 0.05
        # Normal scores: the true AUC is Phi(1 / sqrt(2 (1 + 0.25))).
        covered += one.low <= 0.7364553 <= one.high
    assert 0.03 < wrong / 1000 < 0.07
    assert 0.93 < covered / 1000 < 0.97
