"""The words, case by case: they never claim more than the numbers planted here show."""

import dataclasses

import pytest

from attn_jax.report.arms import comparisons
from attn_jax.report.summary import alternatives, finding, overall


def planted(contents, values: dict[str, tuple[float | None, ...]], **changes):
    """The comparison on `wild` with these AUCs, one a seed, and no other arm."""
    cells = contents.cells[(contents.cells["dataset"] == "wild") & (contents.cells["tested_on"] == "")]
    keep = [a in values and s < len(values[a]) for a, s in zip(cells["attention"], cells["seed"], strict=True)]
    results = {}
    for key, attention, seed in cells[keep][["key", "attention", "seed"]].itertuples(index=False):
        auc = values[attention][seed]
        undefined = {"auc": "one class only"} if auc is None else {}
        old = contents.results[key]
        results[key] = dataclasses.replace(old, metrics={"auc": auc}, undefined=undefined, **changes)
    return comparisons(dataclasses.replace(contents, cells=cells[keep], results=results))[0]


def words(comparison) -> str:
    return " ".join(finding(comparison, None).sentences)


def test_a_difference_is_stated_and_nothing_claimed(contents):
    said = words(planted(contents, {"none": (0.80, 0.86), "se": (0.82, 0.86)}))
    assert "Highest mean AUC: SE, 0.840 ± 0.028 (mean ± sd over 2 seeds)." in said
    assert "none, has 0.830 ± 0.042: a difference of +0.010 ± 0.014, paired over 2 seeds." in said
    assert said.endswith("2 seeds: no significance claimed.")


def test_one_seed_states_no_spread(contents):
    found = finding(planted(contents, {"none": (0.80,), "se": (0.90,)}), None)
    said = " ".join(found.sentences)
    assert found.figure == "0.900" and "±" not in said
    assert "One seed only: no spread can be stated" in said and "spread (sd" not in said


def test_baseline_may_be_best(contents):
    assert "no mechanism has a better mean" in words(planted(contents, {"none": (0.9, 0.9), "se": (0.8, 0.8)}))
    assert "Only the baseline has finished" in words(planted(contents, {"none": (0.9, 0.9)}))


def test_missing_baseline_gives_no_difference(contents):
    said = words(planted(contents, {"se": (0.8, 0.9), "cbam": (0.7, 0.7)}))
    assert "baseline (none) beside it has not finished" in said and "difference of" not in said


def test_undefined_metric_is_said(contents):
    found = finding(planted(contents, {"none": (None, None), "se": (None, None)}), None)
    assert found.figure == "—" and "AUC is undefined: one class only." in found.sentences


def test_uneven_arms_and_different_images_are_said(contents):
    assert "The arms have 1 to 2 seeds each." in words(planted(contents, {"none": (0.8, 0.8), "se": (0.9,)}))
    comparison = planted(contents, {"none": (0.8, 0.8), "se": (0.9, 0.9)})
    moved = {k: dataclasses.replace(r, test_set="other") for k, r in comparison.arms[1].results.items()}
    arms = (comparison.arms[0], dataclasses.replace(comparison.arms[1], results=moved))
    said = words(dataclasses.replace(comparison, arms=arms))
    assert "Not all arms were tested on the same images" in said and "difference of" not in said


def test_lower_is_better_where_it_is(contents):
    comparison = dataclasses.replace(planted(contents, {"none": (0.3, 0.3), "se": (0.2, 0.2)}), primary="brier")
    better = {k: dataclasses.replace(r, metrics={"brier": 0.1}) for k, r in comparison.arms[1].results.items()}
    arms = (comparison.arms[0], dataclasses.replace(comparison.arms[1], results=better))
    worse = {k: dataclasses.replace(r, metrics={"brier": 0.3}) for k, r in arms[0].results.items()}
    arms = (dataclasses.replace(arms[0], results=worse), arms[1])
    assert "Lowest mean Brier score: SE, 0.100" in words(dataclasses.replace(comparison, arms=arms))


def test_what_is_missing_is_counted(contents):
    said = " ".join(overall(contents))
    assert "5 mechanisms, 2 data sets, 2 seeds: 15 of 17 cells finished." in said
    assert (
        "1 cell failed" in said
        and "1 cell is not finished" in said
        and "Simulated images, not patients: phantom" in said
    )


@pytest.mark.parametrize(("arms", "warned"), [(2, False), (3, True)])
def test_picking_among_several_is_warned_about(contents, arms, warned):
    comparison = planted(contents, dict.fromkeys(("none", "se", "cbam")[:arms], (0.8, 0.9)))
    assert bool(alternatives([comparison])) == warned
