"""Panels: the same images in the same order whatever the files' order, and a clear line where they are not the same."""

import numpy as np
import pandas as pd
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation.cautions import cautions
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.panel import of_folds, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import resample

TRUTH = np.array([0, 1, 0, 1, 1, 0])


def predicted(rows=range(6), classes=("no", "yes"), label=None, **more):
    rows = list(rows)
    score = np.linspace(0.1, 0.9, 6)[rows]
    ids = np.array([f"i{row}" for row in rows])
    label = TRUTH[rows] if label is None else label
    return Predictions(ids, label, np.stack([1 - score, score], axis=1), classes, **more)


def test_rows_are_put_in_one_order():
    (panel,) = panels([("a.csv", predicted(model="se")), ("b.csv", predicted([3, 1, 5, 0, 2, 4]))])
    assert panel.models == ("se", "b.csv")
    one, other = (panel.runs[model][""].test for model in panel.models)
    assert one.image_id.tolist() == other.image_id.tolist()
    np.testing.assert_array_equal(one.score, other.score)


def test_thresholds_come_from_each_runs_own_validation_images():
    split = np.array(["val", "val", "val", "val", "test", "test"])
    (panel,) = panels([("a", predicted(split=split))])
    run = panel.runs["a"][""]
    assert len(run.test) == 2 and len(run.validation) == 4
    # Scores .10, .26, .42, .58 of no, yes, no, yes: .26 finds both and loses one, .58 finds one and loses none.
    assert run.thresholds == {"yes": pytest.approx(0.58)}


def test_lacking_images_are_counted_and_named():
    sources = [("a.csv", predicted()), ("b.csv", predicted([0, 1, 2, 3]))]
    with pytest.raises(
        UserError, match=r"b.csv: lacks 2 of the 6 test images that others have \('i4' first\); --common"
    ):
        panels(sources)
    (panel,) = panels(sources, common=True)
    assert panel.image_id.tolist() == ["i0", "i1", "i2", "i3"] and panel.left_out == 2
    with pytest.raises(UserError, match="no test image is in all of a, b"):
        panels([("a", predicted([0, 1])), ("b", predicted([2, 3]))], common=True)


@pytest.mark.parametrize(
    "other, message",
    [
        (predicted(label=1 - TRUTH), "b: the label of image 'i0' is not that of a"),
        (predicted(classes=("yes", "no")), r"b: its classes are yes, no \(positive: no\), but those of a are no, yes"),
        (predicted(model="a"), "b: model 'a' stands already in a; tell them apart"),
        (predicted(split=np.full(6, "val")), "b: no test image"),
    ],
)
def test_what_cannot_be_compared(other, message):
    with pytest.raises(UserError, match=message):
        panels([("a", predicted()), ("b", other)])


def test_patients_are_told_by_any_file_and_must_agree():
    group = np.array(["p", "p", "q", "q", "r", "r"])
    (panel,) = panels([("a", predicted()), ("b", predicted(group=group))])
    assert panel.patients == 3 and panel.cluster.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(UserError, match="c: images are grouped by patient otherwise than in b"):
        panels([("b", predicted(group=group)), ("c", predicted(group=group[::-1].copy()[[0, 2, 1, 3, 4, 5]]))])


def test_classes_are_told_by_name_whatever_the_order_of_columns():
    first = predicted(assumed=True)
    other = predicted(classes=("yes", "no"), label=1 - TRUTH, assumed=True)
    (panel,) = panels([("a", first), ("b", other)])
    test = panel.runs["b"][""].test
    assert test.classes == ("no", "yes") and test.label.tolist() == TRUTH.tolist() and test.positive == 1
    np.testing.assert_array_equal(test.score, other.score[:, ::-1])
    assert "The positive class is taken to be 'yes'" in " ".join(cautions(panel))
    (told,) = panels([("a", first), ("b", predicted(classes=("yes", "no"), label=1 - TRUTH, positive=1))])
    assert {run[""].test.positive for run in told.runs.values()} == {0}, "the file that names it decides"
    assert "taken to be" not in " ".join(cautions(told))
    with pytest.raises(UserError, match=r"c: its classes are no, yes \(positive: no\), but those of b are"):
        panels([("b", predicted()), ("c", predicted(positive=0))])
    finding = Predictions(["i0"], [[1, np.nan]], [[0.9, 0.2]], ("x", "y"), "multilabel")
    turned = Predictions(["i0"], [[np.nan, 1]], [[0.2, 0.9]], ("y", "x"), "multilabel")
    (of,) = panels([("a", finding), ("b", turned)])
    np.testing.assert_array_equal(of.runs["b"][""].test.label, finding.label)


def test_columns_on_which_files_disagree_are_left_out_and_said():
    one = pd.DataFrame({"sex": ["f", "m", "", "f", "m", "f"], "site": list("aabbcc")})
    two = pd.DataFrame({"sex": ["f", "m", "m", "f", "m", "f"], "site": list("aabbca"), "view": list("pqpqpq")})
    (panel,) = panels([("a", predicted(columns=one)), ("b", predicted(columns=two))])
    assert panel.columns.to_dict("list") == {"sex": list("fmmfmf"), "view": list("pqpqpq")}
    assert panel.notes == ("No subgroups by site: image 'i5' has 'a' in b, but 'c' in a.",)


def test_data_sets_are_apart():
    found = panels([("a", predicted(dataset="x")), ("b", predicted(rows=[0, 1], dataset="y"))])
    assert [panel.dataset for panel in found] == ["x", "y"]
    with pytest.raises(UserError, match="no predictions of a model 'se' on x. Known: a."):
        found[0].check("se")


def test_folds_are_parts_of_the_panel():
    runs = {
        model: {
            "0": predicted([4, 0, 2], group=np.array(["c", "a", "b"])),
            "1": predicted([1, 3, 5], group=np.array(["a", "b", "c"])),
        }
        for model in ("none", "se")
    }
    panel = of_folds("x", runs)
    assert (
        sorted(panel.image_id.tolist()) == [f"i{row}" for row in range(6)] and panel.patients == 3 and not panel.whole
    )
    for run in panel.runs["se"].values():
        assert run.test.image_id.tolist() == run.seen(panel.image_id).tolist()
        assert run.test.label.tolist() == run.seen(panel.label).tolist()
    numbers = resample(panel, count=20)["se"]["accuracy"]
    expected = [evaluate(run.test).metrics["accuracy"] for run in panel.runs["se"].values()]
    np.testing.assert_allclose(numbers.point, expected)
    with pytest.raises(UserError, match="se, seed 1: the label of image 'i0' is not that of another run"):
        of_folds("x", {"none": {"0": predicted()}, "se": {"1": predicted(label=1 - TRUTH)}})


def test_seeds_on_the_same_images_are_no_folds():
    panel = of_folds("x", {"none": {"0": predicted(), "1": predicted([5, 4, 3, 2, 1, 0])}})
    assert panel.whole
    np.testing.assert_array_equal(panel.runs["none"]["0"].test.score, panel.runs["none"]["1"].test.score)
