"""The file format of predictions: both ways without loss, and every mistake in one line that says where."""

import re

import numpy as np
import pandas as pd
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation import records
from attn_jax.evaluation.records import Predictions


def random_predictions(kind="single", classes=("a", "b", "c"), count=30, draw=0, **more) -> Predictions:
    rng = np.random.default_rng(draw)
    score = rng.dirichlet(np.ones(len(classes)), size=count)
    label = rng.integers(len(classes), size=count)
    if kind == "multilabel":
        score = rng.uniform(size=(count, len(classes)))
        label = rng.choice([0.0, 1.0, np.nan], size=(count, len(classes)))
    ids = np.array([f"00{i}" for i in range(count)])
    return Predictions(ids, label, score, classes, kind, split=rng.choice(["train", "val", "test"], size=count), **more)


def assert_same(a: Predictions, b: Predictions) -> None:
    for name in ("classes", "kind", "positive", "model", "seed", "dataset"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("image_id", "label", "score", "split"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.group is None) == (b.group is None) and (a.group is None or (a.group == b.group).all())
    assert (a.columns is None) == (b.columns is None)
    if a.columns is not None and b.columns is not None:
        assert a.columns.astype(str).to_dict("list") == b.columns.astype(str).to_dict("list")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "predictions",
    [
        random_predictions(model="resnet18-cbam", seed="3"),
        random_predictions(classes=("COVID", 'non, "COVID"'), group=np.repeat(["p1", "p2", "07"], 10)),
        random_predictions(classes=("tumor", "normal"), positive=0),
        random_predictions(classes=("1", "0")),
        random_predictions(kind="multilabel", columns=pd.DataFrame({"sex": ["F", "NA", ""] * 10, "age": range(30)})),
    ],
    ids=["classes", "two", "positive first", "names that look like indices", "findings"],
)
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, predictions, suffix):
    records.write(tmp_path / f"p{suffix}", predictions)
    assert_same(predictions, records.read(tmp_path / f"p{suffix}"))
    assert [path.name for path in tmp_path.iterdir()] == [f"p{suffix}"]


def written(tmp_path, text: str, name="p.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_one_score_of_a_named_positive(tmp_path):
    text = "image_id,label,score\n1,tumor,0.9\n2,normal,0.25\n"
    found = records.read(written(tmp_path, text), positive="tumor")
    assert found.classes == ("normal", "tumor") and found.positive == 1
    np.testing.assert_array_equal(found.score, [[1 - 0.9, 0.9], [0.75, 0.25]])
    assert found.label.tolist() == [1, 0] and found.split.tolist() == ["test", "test"]
    with_column = "image_id,label,score,positive\n1,tumor,0.9,tumor\n2,normal,0.25,tumor\n"
    assert_same(found, records.read(written(tmp_path, with_column)))
    as_bits = records.read(written(tmp_path, "image_id,label,score\n1,True,0.9\n2,0,0.25\n"), positive="tumor")
    assert as_bits.classes == ("not tumor", "tumor") and as_bits.label.tolist() == [1, 0]
    only_positives = records.read(written(tmp_path, "image_id,label,score\n1,tumor,0.9\n"), positive="tumor")
    assert only_positives.label.tolist() == [1]


@pytest.mark.parametrize("named", ["0", "0.0", "False"])
def test_the_positive_may_be_zero(tmp_path, named):
    text = f"image_id,label,score,positive\n1,0,0.9,{named}\n2,1,0.25,{named}\n"
    found = records.read(written(tmp_path, text))
    assert found.classes == ("1", "0") and found.positive == 1 and not found.assumed
    assert found.label.tolist() == [1, 0] and found.score[:, 1].tolist() == [0.9, 0.25]


def test_row_numbers_that_pandas_stores_are_no_groups(tmp_path):
    frame = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "label": [0, 1, 1], "score": [0.1, 0.5, 0.6], "sex": list("fmm")}
    )
    frame.to_csv(tmp_path / "p.csv")
    pd.read_csv(tmp_path / "p.csv").to_csv(tmp_path / "twice.csv", index=False)
    frame[frame["sex"] != ""].iloc[[0, 2]].to_parquet(tmp_path / "p.parquet")
    for name in ("p.csv", "twice.csv", "p.parquet"):
        assert list(records.read(tmp_path / name).columns) == ["sex"]


def test_labels_may_be_indices_and_ids_keep_their_zeros(tmp_path):
    frame = pd.DataFrame({"image_id": [7, 8], "label": [1.0, 0.0], "score_x": [0.5, 0.25], "score_y": [0.5, 0.75]})
    frame.to_parquet(tmp_path / "p.parquet")
    assert records.read(tmp_path / "p.parquet").label.tolist() == [1, 0]
    text = "\ufeffimage_id,label,score_x,score_y,group,site\n007,1,0.5,0.5,,\n008,0,0.25,0.75,p,Rome\n"
    found = records.read(written(tmp_path, text))
    assert found.image_id.tolist() == ["007", "008"] and found.label.tolist() == [1, 0]
    assert found.group is not None and found.group.tolist() == ["007", "p"]
    assert found.columns is not None and found.columns["site"].tolist() == ["", "Rome"]


def test_whole_floats_of_names_are_integers(tmp_path):
    frame = pd.DataFrame({"image_id": [7.0, 8.0], "label": [1, 0], "score": [0.5, 0.25], "seed": [0.0, 0.0]})
    frame["age"] = [60.0, np.nan]
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_csv(tmp_path / "p.csv", index=False)
    for name in ("p.parquet", "p.csv"):
        found = records.read(tmp_path / name)
        assert (found.image_id.tolist(), found.seed) == (["7", "8"], "0")
        assert found.columns["age"].tolist() == ["60", ""]
    text = "image_id,label,score\n1.0,1,0.9\n1.10,0,0.25\n"
    assert records.read(written(tmp_path, text)).image_id.tolist() == ["1.0", "1.10"], "names that only look like it"


@pytest.mark.parametrize("kind", [int, float, str])
def test_labels_of_classes_named_by_numbers_are_names_whatever_their_type(tmp_path, kind):
    frame = pd.DataFrame({"image_id": [7, 8, 9], "label": [1, 0, 1], "score_1": [0.9, 0.2, 0.8]})
    frame["score_0"] = 1 - frame["score_1"]
    frame["label"] = frame["label"].astype(kind)
    frame.to_parquet(tmp_path / "p.parquet")
    read = records.read(tmp_path / "p.parquet", positive="1")
    assert [read.classes[label] for label in read.label] == ["1", "0", "1"]


def test_the_positive_is_assumed_where_nobody_names_it(tmp_path):
    text = "image_id,label,score_yes,score_no\n1,yes,0.9,0.1\n"
    assert records.read(written(tmp_path, text)).assumed
    assert not records.read(written(tmp_path, text), positive="yes").assumed
    assert not records.read(written(tmp_path, "image_id,label,score\n1,1,0.9\n")).assumed
    assert not records.read(written(tmp_path, HEAD.replace("score_b", "score_b,score_c") + "x,a,0.5,0.25,0.25")).assumed


def test_empty_labels_of_findings_are_unknown(tmp_path):
    text = "image_id,label_edema,label_mass,score_mass,score_edema\n1,,1,0.9,0.2\n2,0,,0.3,0.6\n"
    found = records.read(written(tmp_path, text))
    assert found.classes == ("edema", "mass") and found.kind == "multilabel"
    np.testing.assert_array_equal(found.label, [[np.nan, 1], [0, np.nan]])
    np.testing.assert_array_equal(found.score, [[0.2, 0.9], [0.6, 0.3]])


def test_several_models_in_one_file(tmp_path):
    parts = [random_predictions(draw=int(s), seed=s, model=m) for m in ("none", "se") for s in ("0", "1")]
    pd.concat([records.to_frame(part) for part in parts]).sample(frac=1, random_state=0).to_csv(
        tmp_path / "all.csv", index=False
    )
    found = {(p.model, p.seed): p for p in records.read_all(tmp_path / "all.csv")}
    assert len(found) == 4
    for part in parts:
        again = found[part.model, part.seed]
        order = np.argsort(again.image_id.astype(int))
        assert_same(part, again.rows(order))
    with pytest.raises(UserError, match=r"all\.csv: holds predictions of 4 models"):
        records.read(tmp_path / "all.csv")


HEAD = "image_id,label,score_a,score_b\n"
MISTAKES = {
    "no class": ("image_id,label,score_a,score_\nx,a,0.5,0.5\n", r"column 'score_' names no class"),
    "logits": (HEAD + "x,a,0.5,0.5\ny,b,-2.5,3.5\n", r"column 'score_a', row 2 \(image 'y'\): the score -2.5 .*logits"),
    "nan": (HEAD + "x,a,nan,0.5\n", r"column 'score_a', row 1 .*missing"),
    "empty score": (HEAD + "x,a,0.5,\n", r"column 'score_b', row 1 .*missing"),
    "comma": (HEAD + 'x,a,"0,5",0.5\n', r"column 'score_a', row 1 \(image 'x'\): '0,5' is no number"),
    "sum": (HEAD + "x,a,0.5,0.5\ny,b,0.5,0.498\n", r"row 2 \(image 'y'\): the scores sum to 0.998, not 1"),
    "label": (HEAD + "x,a,0.5,0.5\ny,c,0.5,0.5\n", r"column 'label', row 2 .*unknown 'c'; .*a, b"),
    "index": (HEAD + "x,0,0.5,0.5\ny,2,0.5,0.5\n", r"column 'label', row 2 .*unknown '2'"),
    "no label": (HEAD + "x,,0.5,0.5\n", r"column 'label', row 1"),
    "twice": (HEAD + "x,a,0.5,0.5\nx,b,0.5,0.5\n", r"column 'image_id', row 2 .*already in row 1"),
    "no id": (HEAD + ",a,0.5,0.5\n", r"column 'image_id', row 1: no image id"),
    "empty": ("", r"is empty"),
    "only a header": (HEAD, r"no row"),
    "no image_id": ("label,score\n1,0.5\n", r"no column 'image_id'; found: label, score"),
    "no labels": ("image_id,score\nx,0.5\n", r"no column 'label'"),
    "no scores": ("image_id,label\nx,1\n", r"no scores"),
    "one class": ("image_id,label,score_a\nx,a,1\n", r"no scores: give one column 'score'"),
    "both kinds": ("image_id,label,score,score_a\nx,a,1,1\n", r"columns 'score' and 'score_a'"),
    "column twice": ("image_id,label,score,score\nx,1,1,1\n", r"column 'score' stands twice"),
    "positive unnamed": ("image_id,label,score\nx,ill,1\ny,well,0\n", r"name the positive"),
    "third class": (
        "image_id,label,score,positive\nx,ill,1,ill\ny,well,0,ill\nz,odd,0,ill\n",
        r"column 'label', row 2 .*third class",
    ),
    "split": ("image_id,label,score,split\nx,1,1,holdout\n", r"column 'split', row 1 .*'holdout'.*train, val, test"),
    "finding": ("image_id,label_m,score_m\nx,-1,0.5\n", r"column 'label_m', row 1 .*'-1.0'; .*empty"),
    "no finding's score": ("image_id,label_m,score_n\nx,1,0.5\n", r"no column 'score_m' beside 'label_m'"),
    "no finding's label": ("image_id,label_m,score_m,score_n\nx,1,0.5,0.5\n", r"no column 'label_n'"),
    "ragged": (HEAD + "x,a,0.5\n", r"row 1 has 3 values, but the header names 4 columns"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_column_and_row(tmp_path, mistake):
    text, expected = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        records.read(written(tmp_path, text))
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "p.csv")) and "\n" not in line
    assert re.search(expected, line), line


def test_files_that_are_none(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\xe9,a,0.5,0.5\n")
    for name, why in [
        ("broken.parquet", "as parquet"),
        ("latin.csv", "as csv"),
        ("none.csv", "no such"),
        ("p.txt", ".csv"),
    ]:
        with pytest.raises(UserError, match=re.escape(why)):
            records.read(tmp_path / name)


def test_in_memory_as_strict_as_from_a_file():
    def made(**change) -> Predictions:
        good = {"image_id": ["x", "y"], "label": [0, 1], "score": [[0.5, 0.5], [0.1, 0.9]]}
        arrays = {k: v if isinstance(v, pd.DataFrame) else np.array(v) for k, v in (good | change).items()}
        return Predictions(**arrays, classes=("a", "b"))

    assert made().positive == 1 and made().binary
    for change, error in [
        ({"score": [[1.5, -0.5], [0.1, 0.9]]}, UserError),
        ({"score": [[0.5, 0.4], [0.1, 0.9]]}, UserError),
        ({"label": [0, 2]}, UserError),
        ({"image_id": ["x", "x"]}, UserError),
        ({"split": ["test", "dev"]}, UserError),
        ({"columns": pd.DataFrame({"seed": [1, 2]})}, UserError),
        ({"label": [0]}, ValueError),
        ({"group": ["p"]}, ValueError),
    ]:
        with pytest.raises(error):
            made(**change)


def test_parts_join_to_the_whole():
    whole = random_predictions(group=np.repeat(["p", "q", "r"], 10), columns=pd.DataFrame({"sex": list("FM") * 15}))
    parts = [whole.part(split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(whole)
    joined = records.concatenate(parts)
    assert_same(joined.rows(np.argsort(joined.image_id.astype(int))), whole)


def test_decisions():
    ids, ill = np.array(list("wxyz")), np.array([0.2, 0.3, 0.5, 0.9])
    two = Predictions(ids, np.zeros(4, int), np.stack([ill, 1 - ill], axis=1), ("ill", "well"), positive=0)
    assert two.decisions({"ill": 0.3}).tolist() == [1, 0, 0, 0]
    assert two.decisions({}).tolist() == [1, 1, 0, 0]
    three = Predictions(ids[:2], np.array([0, 1]), np.array([[0.4, 0.3, 0.3], [0.1, 0.2, 0.7]]), ("a", "b", "c"))
    assert three.decisions({"c": 0.0}).tolist() == [0, 2]
