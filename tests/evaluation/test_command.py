"""The command `python -m attn_jax.evaluation`: what it prints, what it writes, and one line where it cannot."""

import json
import pathlib

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attn_jax.evaluation import records
from attn_jax.evaluation.__main__ import main
from attn_jax.evaluation.records import Predictions


@pytest.fixture
def files(tmp_path):
    """Two models with two seeds each, in one file each, and one model from elsewhere as a bare table."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=120) < 0.4
    group = np.array([f"p{i // 2}" for i in range(120)])
    paths = []
    for model, gain in (("none", 1.0), ("se", 2.5)):
        for seed in "01":
            score = 1 / (1 + np.exp(-(gain * truth + rng.normal(size=120) - 1)))
            pair = np.stack([1 - score, score], axis=1)
            path = tmp_path / f"{model}-{seed}.parquet"
            table = Predictions(
                np.arange(120), truth.astype(int), pair, ("no", "yes"), model=model, seed=seed, group=group
            )
            records.write(path, table)
            paths.append(str(path))
    bare = tmp_path / "forest.csv"
    lines = [
        f"{i},{'yes' if t else 'no'},{1 - s:.4f},{s:.4f}" for i, (t, s) in enumerate(zip(truth, score, strict=True))
    ]
    bare.write_text("\n".join(["image_id,label,score_no,score_yes", *lines]))
    return paths, str(bare), truth


def test_prints_and_writes_everything(files, tmp_path, capsys):
    paths, bare, truth = files
    out = tmp_path / "evidence.json"
    assert main([*paths, bare, "--baseline", "none", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "120 test images, 60 patients" in printed and "forest" in printed
    assert "over seeds and patients logit t" in printed and "margin of equivalence 0.02" in printed
    stored = json.loads(out.read_text())
    assert stored["schema"] == 3 and stored["settings"]["replicates"] == 1000
    (found,) = stored["datasets"]
    assert set(found["models"]) == {"none", "se", "forest"}
    se = found["models"]["se"]["metrics"]["auc"]
    expected = [roc_auc_score(truth, records.read(path).score[:, 1]) for path in paths[2:]]
    assert list(se["seeds"].values()) == pytest.approx(expected, abs=1e-12)
    low, high = se["intervals"]["seeds and patients logit t"]["low"], se["intervals"]["patients percentile"]["high"]
    assert low < np.mean(expected) < high
    assert {"images percentile", "delong"} <= set(se["intervals"])
    contests = {of["first"]: of for of in found["contests"]}
    assert contests["se"]["effects"]["auc"]["value"] > 0
    assert contests["forest"]["effects"]["auc"]["unpaired"] and "forest (seeds unpaired)" in printed
    assert se["intervals"]["patients bca"] and found["models"]["se"]["metrics"]["ece"]["intervals"] == {}
    assert not list(tmp_path.glob(".*partial"))


def test_the_same_command_gives_the_same_numbers(files, tmp_path):
    paths, _, _ = files
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    for out in outs:
        main([*paths, "--json", str(out)])
    assert outs[0].read_text() == outs[1].read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--baseline", "sse"], "no predictions of a model 'sse' on these images. Did you mean 'se'? Known: none, se."),
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["--json", "no/such/folder/x.json"], "--json no/such/folder/x.json: no folder 'no/such/folder'"),
        (["--json", "."], "--json .: is a folder; name a file"),
    ],
)
def test_mistakes_are_one_line(files, capsys, arguments, message):
    assert main([*files[0], *arguments]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"


def test_the_metric_and_the_margin_are_the_users(files, capsys):
    assert main([*files[0], "--metric", "brier", "--margin", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "brier less none" in printed and "margin of equivalence 0.1" in printed
    with pytest.raises(SystemExit):
        main([*files[0], "--margin", "-1"])
    assert "'-1' is no size above 0" in capsys.readouterr().err


def test_one_patient_and_one_class_are_said_not_measured(tmp_path, capsys):
    path = tmp_path / "p.csv"
    lines = [f"{k},a,{k / 10},{1 - k / 10},p" for k in range(8)]
    path.write_text("\n".join(["image_id,label,score_a,score_b,group", *lines]))
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "All test images show one patient" in printed and "No test image has a positive label" in printed
    assert "The positive class is taken to be 'b', the second score" in printed
    assert "Decisions of all models fall at 0.5, not at a chosen threshold: no validation image." in printed
    assert " to " not in printed.split("accuracy")[1].splitlines()[1], "no interval of one patient"


def test_findings_that_nobody_knows_are_no_traceback(tmp_path, capsys):
    rng = np.random.default_rng(0)
    lines = [f"{k},{rng.integers(2)},,{rng.uniform():.3f},0.5,{'fm'[k % 2]}" for k in range(60)]
    lines += [f"x{k},,,0.5,0.5,d" for k in range(15)]
    path = tmp_path / "p.csv"
    path.write_text("\n".join(["image_id,label_a,label_b,score_a,score_b,sex", *lines]))
    assert main([str(path), "--json", str(tmp_path / "e.json")]) == 0
    assert "Decisions of a, b of all models fall at 0.5" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "e.json").read_text())["datasets"]
    (sex,) = found["models"]["p"]["subgroups"]
    assert [group["value"] is None for group in sex["groups"]] == [True, False, False]
    assert set(found["models"]["p"]["trust"]["findings"]) == {"a"}


def test_lacking_images(files, tmp_path, capsys):
    paths, bare, _ = files
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(pathlib.Path(bare).read_text().splitlines()[:101]))
    assert main([paths[0], str(fewer)]) == 2
    assert "fewer.csv: lacks 20 of the 120 test images" in capsys.readouterr().err
    assert main([paths[0], str(fewer), "--common"]) == 0
    assert "20 test images that some models lack are left out" in capsys.readouterr().out
