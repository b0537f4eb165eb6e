"""Comparisons on panels with planted differences, the bootstrap test beside DeLong's, and significance letters."""

import dataclasses
import itertools

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from attn_jax.evaluation.comparing import against, all_pairs, delong_difference, effect, letters
from attn_jax.evaluation.metrics import METRICS
from attn_jax.evaluation.panel import panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import paired, resample


def study(gains, count=200, seeds=1, rng=0, noise=0.4):
    """Models whose scores gain more or less from the truth, all with the same doubt about the same images."""
    rng = np.random.default_rng(rng)
    truth = rng.uniform(size=count) < 0.4
    shared = rng.normal(0, 1, count)
    sources = []
    for model, gain in gains.items():
        for seed in range(seeds):
            score = 1 / (1 + np.exp(-(shared + gain * truth + rng.normal(0, noise, count) - 0.5)))
            pair = np.stack([1 - score, score], axis=1)
            sources.append(
                (
                    model,
                    Predictions(np.arange(count), truth.astype(int), pair, ("no", "yes"), model=model, seed=str(seed)),
                )
            )
    return panels(sources)[0]


def test_a_large_gain_is_found_and_none_is_not():
    panel = study({"none": 1.0, "better": 2.0, "same": 1.0}, seeds=2)
    better, same = against(panel, resample(panel), {"better": "none", "same": "none"}, "auc")
    assert better.effects["auc"].value > 0.1 and better.equivalence.verdict == "better"
    assert all(p < 0.05 for test, p in zip(better.tests, better.adjusted, strict=True) if test.p is not None)
    assert all(test.p > 0.05 for test in same.tests if test.p is not None)
    assert set(better.effects) == set(METRICS)
    assert better.effects["brier"].value < 0
    assert [test.name for test in better.tests] == [
        "t",
        "DeLong",
        "permutation",
        "McNemar",
        "Wilcoxon over seeds",
    ]
    assert better.tests[-1].p is None and "2 of the 6 seeds" in better.tests[-1].reason


def test_t_agrees_with_delong():
    panel = study({"none": 1.0, "se": 1.3}, count=400)
    of = effect(paired(panel, resample(panel, count=4000), "se", "none", "auc"), "auc")
    exact = delong_difference(panel, "se", "none")
    assert of.value == pytest.approx(exact.value)
    assert of.error == pytest.approx(exact.error, rel=0.05)
    assert of.p == pytest.approx(exact.p, abs=0.02)
    assert of.intervals["patients t"][:2] == pytest.approx(exact.interval[:2], abs=0.1 * exact.error + 0.002)


def test_less_of_a_loss_is_better():
    panel = study({"none": 1.0, "better": 2.5})
    (found,) = against(panel, resample(panel), {"better": "none"}, "log_loss")
    assert found.effects["log_loss"].value < 0 and found.equivalence.verdict == "better"
    assert "DeLong" not in [test.name for test in found.tests]


def test_without_a_common_seed_tests_have_a_reason():
    rng = np.random.default_rng(1)
    truth = rng.uniform(size=50) < 0.5
    score = rng.uniform(size=(2, 50))
    sources = [
        (m, Predictions(np.arange(50), truth.astype(int), np.stack([1 - s, s], 1), ("no", "yes"), model=m, seed=m))
        for m, s in zip("ab", score, strict=True)
    ]
    (panel,) = panels(sources)
    (found,) = against(panel, resample(panel, count=50), {"b": "a"}, "auc")
    one = found.effects["auc"]
    assert one.unpaired and one.seeds == () and not any("seeds" in name for name in one.intervals)
    assert one.p is not None and found.equivalence is not None
    assert all(test.p is None and test.reason for test in found.tests[1:])


def test_seeds_of_their_own_are_compared_by_means():
    one = study({"none": 1.0, "se": 1.3}, seeds=3)
    renamed = {model: {f"{model}{name}": run for name, run in runs.items()} for model, runs in one.runs.items()}
    apart = dataclasses.replace(one, runs=renamed)
    paired_of, unpaired = (effect(paired(of, resample(of), "se", "none", "auc"), "auc") for of in (one, apart))
    assert unpaired.unpaired and not paired_of.unpaired
    assert unpaired.value == pytest.approx(paired_of.value)
    assert [part.df for part in unpaired.spread.seeds] == [2, 2]
    # Patients are shared all the same.
    assert unpaired.intervals["patients t"][:2] == pytest.approx(paired_of.intervals["patients t"][:2])


def test_interval_p_and_verdict_agree():
    for gain in (1.0, 1.2, 1.4, 2.0):
        panel = study({"none": 1.0, "se": gain}, seeds=3)
        (found,) = against(panel, resample(panel, count=300), {"se": "none"}, "auc", margin=1e-6)
        low, high, _ = found.effects["auc"].intervals["seeds and patients t"]
        assert (not low <= 0 <= high) == (found.effects["auc"].p < 0.05)
        assert (found.equivalence.verdict in ("better", "worse")) == (found.adjusted[0] < 0.05)


def test_all_pairs_are_a_family_of_their_own():
    panel = study({"none": 1.0, "same": 1.0, "better": 2.5})
    found = all_pairs(panel, resample(panel, count=999), panel.models, "auc")
    assert [(pair.first, pair.second) for pair in found] == [
        ("none", "same"),
        ("none", "better"),
        ("same", "better"),
    ]
    names = [test.name for test in found[0].tests]
    assert names == ["t", "DeLong", "permutation", "McNemar", "Wilcoxon over seeds"]
    for k, name in enumerate(names[:3]):
        raw, adjusted = [pair.tests[k].p for pair in found], [pair.adjusted[k] for pair in found]
        assert adjusted[0] > 0.05 and max(adjusted[1:]) < 0.01, name
        assert adjusted == pytest.approx(multipletests(raw, method="holm")[1], abs=1e-12)
    # The same test of the same two models, whatever family it is in.
    (contest,) = against(panel, resample(panel, count=99), {"better": "none"}, "auc")
    assert found[1].tests[1].p == pytest.approx(contest.tests[1].p) and found[1].tests[3].p == contest.tests[3].p


def test_many_models_can_be_told_apart():
    panel = study({"better": 3.0} | {f"m{k}": 1.0 for k in range(11)})
    measured = resample(panel, count=200)
    found = all_pairs(panel, measured, panel.models, "auc")
    assert max(pair.adjusted[0] for pair in found if pair.first == "better") < 0.001
    assert max(pair.adjusted[2] for pair in found if pair.first == "better") < 0.02
    by_loss = all_pairs(panel, measured, panel.models, "brier")
    assert by_loss[0].tests[1].p is None and by_loss[0].tests[1].reason == "for 10 pairs at most"


@pytest.mark.parametrize("seed", range(20))
def test_models_share_a_letter_just_when_they_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    order = list("pqrstuv")[: rng.integers(2, 8)]
    differs = {pair: bool(rng.uniform() < 0.4) for pair in itertools.combinations(order, 2)}
    found = letters(order, differs)
    for (first, second), apart in differs.items():
        assert (not set(found[first]) & set(found[second])) == apart
    assert found[order[0]].startswith("a")


def test_letters_of_a_chain():
    differs = {("a", "c"): True, ("a", "b"): False, ("b", "c"): False}
    assert letters(["a", "b", "c"], differs) == {"a": "a", "b": "ab", "c": "b"}
    assert letters(["a", "b"], {("a", "b"): False}) == {"a": "a", "b": "a"}


def test_what_cannot_be_compared_has_no_letter():
    differs = {("a", "b"): True, ("a", "c"): None, ("b", "c"): None}
    assert letters(["a", "b", "c"], differs) == {"a": "a", "b": "b", "c": ""}
    assert letters(["a", "b"], {("a", "b"): None}) == {"a": "", "b": ""}
