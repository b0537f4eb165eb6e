"""Bootstrap intervals of panels: against plain loops over drawn images, and against what theory says of their width."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.stats import bootstrap

from attn_jax.evaluation import replicates
from attn_jax.evaluation.intervals import bca, percentile
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.panel import of_folds, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import FOLD, Numbers, paired, resample


def predicted(score, truth, model="a", seed="0", group=None):
    score = 1 / (1 + np.exp(-score))
    pair = np.stack([1 - score, score], axis=1)
    ids = np.arange(len(truth))
    return Predictions(ids, truth.astype(int), pair, ("healthy", "ill"), model=model, seed=seed, group=group)


def study(rng, count=80, seeds=3, group=None, gain=0.5, noise=0.5):
    truth = rng.uniform(size=count) < 0.4
    shared = rng.normal(truth, 1)
    sources = []
    for model, more in (("none", 0.0), ("se", gain)):
        for seed in range(seeds):
            score = shared + more * truth + rng.normal(0, noise, count)
            sources.append((f"{model}{seed}", predicted(score, truth, model, str(seed), group)))
    return sources


def test_replicates_are_the_drawn_images_judged():
    rng = np.random.default_rng(0)
    group = np.array([f"p{i // 3}" for i in rng.permutation(60)])
    (panel,) = panels(study(rng, 60, 2, group))
    found = resample(panel, count=25, seed=4)["se"]
    test = panel.runs["se"]["1"].test
    drawn = replicates.draws(np.random.default_rng(4), panel.cluster, 25)
    for rows, weights in drawn:
        for row, of in zip(range(rows.start, rows.stop), weights, strict=True):
            assert all(len(set(of[panel.cluster == c])) == 1 for c in range(20)) and of.sum() == 60
            at = np.repeat(np.arange(60), of.astype(int))
            again = Predictions(np.arange(60), test.label[at], test.score[at], test.classes)
            for metric, value in evaluate(again).metrics.items():
                assert found[metric].drawn[1, row] == pytest.approx(value, abs=1e-9)
    for patient in range(20):
        kept = test.rows(panel.cluster != patient)
        assert found["auc"].without[1, patient] == pytest.approx(evaluate(kept).metrics["auc"])
    assert found["auc"].value == pytest.approx(
        np.mean([evaluate(run.test).metrics["auc"] for run in panel.runs["se"].values()])
    )


def test_draws_have_the_moments_of_drawing_with_replacement():
    weights = np.concatenate([w for _, w in replicates.draws(np.random.default_rng(0), np.arange(50), 4000)])
    assert weights.shape == (4000, 50) and (weights.sum(axis=1) == 50).all()
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / 50, rel=0.02)
    assert np.cov(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(-1 / 50, abs=0.06)


def test_the_jackknife_in_blocks_has_the_acceleration_of_single_images():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=3000)

    def skew(cluster, blocks):
        means = np.concatenate([w @ values / w.sum(axis=1) for _, w in replicates.left_out(cluster, blocks)])
        influence = means.mean() - means
        return (influence**3).sum() / (influence**2).sum() ** 1.5

    # Each of 500 blocks of six adds up the influence of its images, with the same third cumulant.
    assert skew(np.arange(3000), 500) == pytest.approx(skew(np.arange(3000), 3000), rel=0.35)
    assert sum(len(w) for _, w in replicates.left_out(np.arange(3000), 500)) == 500


def test_bca_of_a_mean_is_scipys():
    values = np.random.default_rng(2).exponential(size=40)
    expected = bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=3).confidence_interval
    weights = np.concatenate([w for _, w in replicates.draws(np.random.default_rng(4), np.arange(40), 20_000)])
    jackknife = np.concatenate([w @ values / w.sum(axis=1) for _, w in replicates.left_out(np.arange(40))])
    found = bca(weights @ values / 40, values.mean(), jackknife)
    assert found is not None
    assert found[:2] == pytest.approx(tuple(expected), rel=0.02)
    plain = percentile(weights @ values / 40)
    assert plain is not None and plain.low < found.low and plain.high < found.high


def test_intervals_that_do_not_exist():
    assert percentile(np.full(10, np.nan)) is None
    assert bca(np.ones(10), 2.0, np.ones(5)) is None
    some = percentile(np.array([1.0, 2.0, np.nan, 3.0]))
    assert some is not None and some.undefined == 0.25


def test_patients_widen_and_seeds_widen():
    rng = np.random.default_rng(5)
    truth = np.repeat(rng.uniform(size=40) < 0.5, 5)
    patient = np.repeat(rng.normal(size=40), 5)
    group = np.repeat(np.arange(40), 5).astype(str)

    def width(group, noise):
        drawn = np.random.default_rng(6)
        sources = [
            (
                str(s),
                predicted(truth + patient + drawn.normal(0, 0.3, 200) + noise * truth * s, truth, "m", str(s), group),
            )
            for s in range(4)
        ]
        (panel,) = panels(sources)
        auc = resample(panel, count=1000)["m"]["auc"]
        found = {
            "patients": auc.by_bootstrap("percentile"),
            "seeds and patients": auc.of_all_seeds().interval(auc.value),
        }
        return {by: of.high - of.low for by, of in found.items()}

    images, patients, seeds = width(None, 0), width(group, 0), width(group, 0.5)
    assert patients["patients"] > 1.5 * images["patients"]
    assert seeds["seeds and patients"] > 1.1 * seeds["patients"]


def test_seeds_drawn_with_patients():
    rng = np.random.default_rng(9)
    noise = 0.01 * rng.standard_normal(4000)
    apart = np.array([-0.03, 0.0, 0.01, 0.02])
    without = 0.8 + 0.001 * rng.standard_normal((1, 50)).repeat(4, axis=0)

    def numbers(apart):
        point = 0.8 + apart
        return Numbers(tuple("0123"), point, point[:, None] + noise, without, 50, (4,))

    def spread(interval):
        return (interval.high - interval.low) / (2 * stats.norm.ppf(0.975))

    alike = numbers(np.zeros(4))
    assert alike.by_hierarchical_bootstrap("percentile") == alike.by_bootstrap("percentile")
    # Four seeds drawn from four: their mean varies by a quarter of their variance (n).
    expected = np.sqrt(noise.var() + apart.var() / 4)
    for method in ("percentile", "bca"):
        assert spread(numbers(apart).by_hierarchical_bootstrap(method)) == pytest.approx(expected, rel=0.05)
    # Two groups of two, the second negated: their difference, each group drawn by itself.
    point = np.array([0.83, 0.8, -0.7, -0.72])
    drawn = point[:, None] + np.array([1, 1, -1, -1])[:, None] * noise
    difference = Numbers(tuple("0101"), point, drawn, without, 50, (2, 2))
    expected = np.sqrt(point[:2].var() / 2 + point[2:].var() / 2)
    # The noise, alike in both, cancels.
    low, high, _ = difference.by_hierarchical_bootstrap("percentile", 0.999)
    assert (low, high) == pytest.approx((0.8 - 0.72, 0.83 - 0.7)) and expected < (high - low) / 2


def test_folds_of_a_seed_are_one_value():
    rng = np.random.default_rng(7)
    runs = {model: {} for model in ("none", "se")}
    for name, run in study(rng, 90, 4):
        model, number = name[:-1], int(name[-1])
        # Two seeds of two folds.
        rows = np.arange(90) % 2 == number % 2
        runs[model][f"{number // 2}{FOLD}{number % 2}"] = run.rows(rows)
    panel = of_folds("", runs)
    found = resample(panel, count=50)
    auc = found["se"]["auc"]
    assert auc.seeds == ("0", "1") and auc.drawn.shape == (2, 50) and auc.sizes == (2,)
    alone = [evaluate(run.test).metrics["auc"] for run in panel.runs["se"].values()]
    np.testing.assert_allclose(auc.point, [np.mean(alone[:2]), np.mean(alone[2:])])
    assert paired(panel, found, "se", "none", "auc").seeds == ("0", "1")
    fewer = dataclasses.replace(panel, runs=panel.runs | {"none": dict(list(panel.runs["none"].items())[:3])})
    assert paired(fewer, resample(fewer, count=5), "se", "none", "auc").seeds == ("0",)


def test_differences_are_paired():
    (panel,) = panels(study(np.random.default_rng(8)))
    found = resample(panel, count=500)
    delta = paired(panel, found, "se", "none", "auc")
    assert delta is not None
    assert delta.value == pytest.approx(found["se"]["auc"].value - found["none"]["auc"].value)
    apart = found["se"]["auc"].replicates.var() + found["none"]["auc"].replicates.var()
    assert delta.replicates.var() < 0.6 * apart
    same = paired(panel, found, "se", "se", "auc")
    assert same is not None and same.value == 0 and same.of_all_seeds().p(0.0) == 1


def test_only_shared_seeds_are_compared():
    sources = study(np.random.default_rng(9))[:5]
    (panel,) = panels(sources)
    found = resample(panel, count=50)
    delta = paired(panel, found, "se", "none", "auc")
    assert delta is not None and len(delta.point) == 2
    expected = [found["se"]["auc"].point[s] - found["none"]["auc"].point[s] for s in range(2)]
    np.testing.assert_allclose(delta.point, expected)
