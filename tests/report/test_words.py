"""The paragraph generated from the evidence, against planted models and the numbers it speaks of."""

import dataclasses

import pandas as pd
import pytest

from attn_jax.report.arms import comparisons
from attn_jax.report.evidence import gather
from attn_jax.report.from_predictions import contents as of_predictions
from attn_jax.report.numbers import count, signed
from attn_jax.report.summary import finding


def said(contents):
    """The first comparison's evidence and sentences."""
    compared = comparisons(contents)
    judged = gather(contents, compared).find(compared[0])
    return judged, " ".join(finding(compared[0], judged).sentences)


def test_a_planted_gain_is_told_with_its_interval(sources):
    judged, words = said(of_predictions(list(sources(gains={"none": 0.5, "same": 0.5, "good": 2.5}))))
    effect = {contest.first: contest.effects["auc"] for contest in judged.found.contests}["good"]
    interval = effect.intervals["seeds and patients t"]
    told = f"good {signed(effect.value)} (95 % interval {signed(interval.low)} to {signed(interval.high)})"
    assert "1 arm differs in AUC from none" in words and told in words
    assert "good better than its baseline" in words and "3 seeds an arm tell roughly" in words


def test_equal_models_are_not_called_different(sources):
    _, words = said(of_predictions(list(sources(gains={"none": 1.0, "a": 1.0, "b": 1.0}))))
    assert "None of 2 arms is told from none" in words and "by the t test over seeds and patients" in words
    assert "better" not in words and "worse" not in words


def test_seeds_that_are_not_shared_are_not_claimed(sources):
    repeats = {"none": range(3), "SE": range(2, 4), "CBAM": range(2, 3), "GC": range(1, 4)}
    judged, words = said(of_predictions(list(sources(repeats=repeats, gains=dict.fromkeys(repeats, 1.0)))))
    assert "over patients, and of 2 of 3 also over seeds" in words and "over seeds and patients" not in words
    assert "SE and none share 1 seed only: compared by the means over 2 and 3." in words
    assert "CBAM and none share 1 seed of 1 and 3: compared on these alone" in words
    assert "GC and none share 2 seeds of 3 and 3: compared on these alone" in words
    assert judged.difference_words == "95 % intervals over patients, and of 2 of 3 also over seeds"
    assert judged.interval_words == "95 % intervals over patients, and of 3 of 4 also over seeds"
    by_name = {contest.first: contest.effects["auc"] for contest in judged.found.contests}
    assert by_name["SE"].unpaired and len(by_name["SE"].spread.seeds) == 2
    assert not by_name["CBAM"].unpaired and not by_name["CBAM"].spread.seeds and by_name["GC"].seeds


@pytest.mark.parametrize("margin", [0.02, 0.4])
def test_how_many_it_takes_is_less_than_there_are_for_a_wide_margin(sources, margin):
    runs = list(sources(gains={"none": 1.0, "SE": 1.05}, repeats=1))
    judged, words = said(of_predictions(runs, margin=margin))
    needed = judged.found.contests[0].needed
    assert (needed.patients.number < 45) == (margin == 0.4)
    assert "If patients vary as they seem to here (45 patients), a difference of" in words
    assert ("for one of 0.4 fewer would do." in words) == (margin == 0.4)
    assert (f"for one of 0.02 it takes {count(needed.patients.number)} patients" in words) == (margin == 0.02)


def test_networks_trained_on_random_labels_are_compared_with_none(sources):
    gains = {"none": 1.5, "SE": 1.6, "none, random": 0.0, "SE, random": 0.1}
    plain = of_predictions(list(sources(gains=gains)))
    cells = plain.cells.assign(
        attention=[name.partition(", ")[0] for name in plain.cells["attention"]],
        labels=["random" if "random" in name else "true" for name in plain.cells["attention"]],
    )
    contents = dataclasses.replace(plain, cells=cells)
    compared = comparisons(contents)
    judged, words = said(contents)
    assert {arm.label for arm in compared[0].arms if arm.control} == set(judged.found.controls) != set()
    assert [contest.first for contest in judged.found.contests] == ["SE · true"]
    assert [(pair.first, pair.second) for pair in judged.found.pairs] == [("none · true", "SE · true")]
    assert all(bool(letters) == ("true" in name) for name, letters in judged.found.letters.items())
    alone = of_predictions([run for run in sources(gains=gains) if "random" not in run[0]])
    (contest,) = judged.found.contests
    (expected,) = said(alone)[0].found.contests
    assert contest.adjusted == pytest.approx(expected.adjusted)
    assert contest.needed.patients == expected.needed.patients
    assert [arm.control for arm in compared[0].ranked] == [False, False, True, True]
    assert "random" not in words


def test_a_random_arm_never_leads(contents):
    cells = contents.cells.assign(labels=["random" if name == "se" else "true" for name in contents.cells["attention"]])
    unfinished = cells[cells["attention"] == "se"].assign(labels="true", state="unfinished")
    cells = pd.concat([cells, unfinished.assign(key="again " + unfinished["key"])])
    first = comparisons(dataclasses.replace(contents, cells=cells))[0]
    # SE's planted mean is the highest.
    assert [arm.label for arm in first.ranked][::3] == ["CBAM \u00b7 true", "SE \u00b7 random"]
