"""Verdicts over data sets: which models they are about, and a planted gain."""

import numpy as np
import pytest

from attn_jax.evaluation.across import across
from attn_jax.evaluation.evidence import Settings, gather, on_panel
from attn_jax.evaluation.panel import panels
from attn_jax.evaluation.records import Predictions

SETTINGS = Settings(replicates=200)


def sources(datasets, models=("none", "se"), gain=1.0):
    found = []
    for number, dataset in enumerate(datasets):
        rng = np.random.default_rng(number)
        truth = rng.uniform(size=150) < 0.4
        shared = rng.normal(truth, 1)
        for model in models:
            more = gain if model == "se" else 0.0
            score = 1 / (1 + np.exp(-(shared + more * truth + rng.normal(0, 0.3, 150) - 0.5)))
            pair = np.stack([1 - score, score], axis=1)
            table = Predictions(np.arange(150), truth.astype(int), pair, ("no", "yes"), model=model, dataset=dataset)
            found.append((model, table))
    return found


def test_a_gain_everywhere_is_to_be_expected_on_the_next():
    found = across(gather(sources("abcdef", ("none", "se", "eca")), SETTINGS), SETTINGS)
    assert found is not None and found.baseline == "none"
    ranks = dict(zip(found.models, found.comparison.ranks, strict=True))
    assert ranks["se"] == 1
    assert found.posteriors["se"].new_rope.right > 0.9
    assert found.posteriors["eca"].new_rope.inside > found.posteriors["eca"].new_rope.right
    assert found.comparison.friedman.f_p < 0.05


def test_a_loss_counts_the_other_way():
    settings = Settings(replicates=200, metric="log_loss")
    found = across(gather(sources("abc"), settings), settings)
    gains = [of.contests[0].effects["log_loss"].value for of in gather(sources("abc"), settings)]
    assert max(gains) < 0 < found.posteriors["se"].mu.mean


def test_each_model_is_compared_with_its_own_reference():
    sets = panels(sources("abc", ("none", "se", "eca", "cbam")))
    found = [on_panel(of, SETTINGS, {"se": "none", "cbam": "eca"}) for of in sets]
    over = across(found, SETTINGS)
    assert over.references == {"se": "none", "cbam": "eca"} and over.reference == "the baseline of each model"
    assert set(over.chances["se"]) == {0.01, 0.05, 0.1}
    assert over.chances["se"][0.05] == over.posteriors["se"].new_rope
    moved = [*found[:2], on_panel(sets[2], SETTINGS, {"se": "eca", "cbam": "eca"})]
    assert set(across(moved, SETTINGS).posteriors) == {"cbam"}, "another reference on one data set"


def test_too_few_data_sets_have_ranks_and_reasons():
    found = across(gather(sources("ab"), SETTINGS), SETTINGS)
    assert found.comparison.nemenyi.critical_difference is None and "5" in found.comparison.nemenyi.reason
    assert found.comparison.ranks == pytest.approx([2, 1])


def test_only_models_that_judged_all():
    assert across(gather(sources("a"), SETTINGS), SETTINGS) == ""
    apart = [*sources("a"), *sources("b", ("none",))]
    assert across(gather(apart, SETTINGS), SETTINGS) == "1 model has auc on all 2 data sets, and two are needed"
