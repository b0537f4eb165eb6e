"""Arms, their spread and their differences, against plain NumPy."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from attn_jax.errors import UserError
from attn_jax.report.arms import comparisons, difference, mechanism_title, over


def test_over_leaves_out_what_is_undefined():
    found = over([0.5, None, 0.7, float("nan")], "one class only")
    assert (found.mean, found.n, found.reason) == (pytest.approx(0.6), 2, "one class only")
    assert found.sd == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert over([0.5]).sd is None
    assert over([None], "why") == dataclasses.replace(over([]), reason="why")


def test_mechanisms_are_called_as_in_their_papers():
    assert [mechanism_title(n) for n in ("cbam", "none", "pkg.mod:Mine")] == ["CBAM", "none", "Mine"]
    assert [mechanism_title(f"shuffled:{n}") for n in ("se", "pkg.mod:Mine")] == ["shuffled SE", "shuffled Mine"]


def test_two_mechanisms_are_never_called_alike(contents):
    cells = contents.cells.replace({"attention": {"cbam": "my.layers:SE"}})
    arms = comparisons(dataclasses.replace(contents, cells=cells))[0].arms
    assert [arm.label for arm in arms][:3] == ["none", "se", "my.layers:SE"]
    verbatim = comparisons(dataclasses.replace(contents, verbatim=True))[0]
    assert [arm.label for arm in verbatim.arms][:3] == ["none", "se", "cbam"]


def test_arms_gather_seeds_and_usual_placements_are_no_axis(contents):
    own = comparisons(contents)[0]
    assert own.axes == () and [arm.label for arm in own.arms][:3] == ["none", "SE", "CBAM"]
    assert all(len(arm.results) == 2 for arm in own.arms)
    assert own.ranked[0].label == "SE" and own.repeats == "seed"


def test_external_tests_are_apart(contents):
    found = comparisons(contents)
    assert [(c.dataset, c.tested_on, c.simulated) for c in found] == [
        ("wild", "", False), ("phantom", "", True), ("wild", "phantom", True)
    ]  # fmt: skip


def test_difference_is_paired_by_seed(contents):
    own = comparisons(contents)[0]
    none, se = own.arms[:2]
    one_less = dataclasses.replace(none, results=dict(list(none.results.items())[1:]))
    assert difference(se, none, "auc").mean == pytest.approx(np.mean([0.05, 0.07]))
    assert difference(se, one_less, "auc").n == 1
    assert difference(se, dataclasses.replace(none, results={}), "auc").reason == "no seed in common with the baseline"
    elsewhere = {repeat: dataclasses.replace(r, test_set="other") for repeat, r in none.results.items()}
    other = difference(se, dataclasses.replace(none, results=elsewhere), "auc")
    assert other.mean is None and "same images" in other.reason


def test_a_second_network_has_its_own_baseline(contents):
    second = contents.cells.assign(model="resnet50", key=contents.cells["key"] + "+")
    results = contents.results | {f"{key}+": dataclasses.replace(r, images=7) for key, r in contents.results.items()}
    both = dataclasses.replace(contents, cells=pd.concat([contents.cells, second]), results=results)
    own = comparisons(both)[0]
    assert own.axes == ("model",)
    arm = next(a for a in own.arms if a.label == "SE · resnet50")
    reference = own.reference(arm)
    assert reference is not None and reference.label == "none · resnet50"
    assert own.reference(reference) is None


def test_placements_share_the_baseline_that_has_none(contents):
    stage = contents.cells[contents.cells["attention"] == "se"].assign(placement="stage")
    stage["key"] += "+"
    results = contents.results | {f"{key}+": r for key, r in contents.results.items()}
    both = dataclasses.replace(contents, cells=pd.concat([contents.cells, stage]), results=results)
    own = comparisons(both)[0]
    arm = next(a for a in own.arms if a.label == "SE · stage")
    reference = own.reference(arm)
    assert reference is not None and reference.attention == "none"


def test_figures_show_the_baseline_and_the_best_of_many(contents):
    more = []
    for n in range(12):
        copy = contents.cells[(contents.cells["attention"] == "se") & (contents.cells["tested_on"] == "")]
        more.append(copy.assign(attention=f"m{n}", key=copy["key"] + f"m{n}"))
    cells = pd.concat([contents.cells, *more], ignore_index=True)
    results = dict(contents.results)
    for key in pd.concat(more)["key"]:
        results[key] = dataclasses.replace(results["wild-se-0"], metrics={"auc": 0.9 + int(key.split("m")[-1]) / 200})
    own = comparisons(dataclasses.replace(contents, cells=cells, results=results))[0]
    assert len(own.arms) == 16 and len(own.shown) == 8
    assert {arm.label for arm in own.shown} == {"none", *(f"m{n}" for n in range(5, 12))}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda c: c.drop(columns="gmacs"), "lack the columns gmacs"),
        (lambda c: c.assign(state="perhaps"), "unknown state 'perhaps'"),
        (lambda c: c.assign(key="same"), "two cells have the key 'same'"),
        (lambda c: c.assign(dataset="moon"), "no summary of the data set 'moon'"),
    ],
)
def test_contents_name_what_is_wrong(contents, change, line):
    with pytest.raises(UserError, match=line):
        dataclasses.replace(contents, cells=change(contents.cells))
