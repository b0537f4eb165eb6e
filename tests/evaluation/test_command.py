"""The command `python -m attn_jax.evaluation`: what it prints, what it writes, and one line where it cannot."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
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


def write(path, score, truth, *, ids=None, **columns):
    """Predictions of two classes as a CSV."""
    table = {"image_id": np.arange(len(truth)) if ids is None else ids, "label": truth.astype(int), "score": score}
    pd.DataFrame(table | columns).to_csv(path, index=False)
    return str(path)


def test_why_a_number_has_no_interval_is_said(tmp_path, capsys):
    truth = np.arange(80) % 2 == 1
    assert main([write(tmp_path / "sure.csv", 0.2 + 0.6 * truth, truth)]) == 0
    printed = capsys.readouterr().out
    assert "No interval of auc: all replicates are alike" in printed and "all replicates are alike" in printed
    assert "No interval of ece: no interval holds the truth of ECE" in printed


def test_of_the_calibration_error_only_the_difference_is_told(files, tmp_path, capsys):
    out = tmp_path / "e.json"
    assert main([*files[0], "--metric", "ece", "--json", str(out)]) == 0
    (contest,) = json.loads(out.read_text())["datasets"][0]["contests"]
    effect = contest["effects"]["ece"]
    assert effect["value"] is not None and effect["p"] is None and effect["intervals"] == {}
    assert contest["equivalence"] is None and "above 0 by chance" in capsys.readouterr().out


def test_seeds_that_only_one_model_has_are_said(files, capsys):
    assert main(files[0][:3]) == 0
    assert "se and none share 1 seed of 1 and 2: compared on these alone" in capsys.readouterr().out


def test_patients_may_be_named_by_one_file_whatever_the_order(files, tmp_path, capsys):
    paths, bare, _ = files
    for order in ((paths[0], bare), (bare, paths[0])):
        assert main(list(order)) == 0
        assert "120 test images, 60 patients" in capsys.readouterr().out


def test_a_terminal_without_the_letters_of_a_name_loses_nothing(tmp_path):
    truth = np.arange(60) % 2 == 1
    score = np.random.default_rng(0).uniform(size=60)
    path, out = write(tmp_path / "p.csv", score, truth, dataset="лёгкие"), tmp_path / "e.json"
    command = [sys.executable, "-m", "attn_jax.evaluation", path, "--json", str(out)]
    told = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert told.returncode == 0 and "\\u043b" in told.stdout and not told.stderr
    assert json.loads(out.read_text())["datasets"][0]["dataset"] == "лёгкие"


def test_two_models_over_five_data_sets_have_their_test(tmp_path, capsys):
    rng = np.random.default_rng(0)
    truth, paths = np.arange(60) % 2 == 1, []
    for dataset in "abcde":
        for model, gain in (("none", 0.5), ("se", 2.0)):
            score = 1 / (1 + np.exp(-gain * truth - rng.normal(size=60)))
            name = tmp_path / f"{dataset}-{model}.csv"
            paths.append(write(name, score, truth, dataset=dataset, model=model))
    assert main(paths) == 0
    printed = capsys.readouterr().out
    # Five data sets that agree: 2 / 2^5 is the least that signs can give.
    assert "Wilcoxon over data sets against none, p adjusted by Holm: se 0.0625" in printed


def test_without_a_common_baseline_it_is_said(tmp_path, capsys):
    truth, rng = np.arange(60) % 2 == 1, np.random.default_rng(0)
    models = {"x": ("none", "se", "eca"), "y": ("se", "eca"), "z": ("cbam",)}
    paths = {
        of: [
            write(tmp_path / f"{of}-{name}.csv", rng.uniform(size=60), truth, dataset=of, model=name) for name in names
        ]
        for of, names in models.items()
    }
    assert main([*paths["x"], *paths["y"]]) == 0
    printed = capsys.readouterr().out
    assert printed.count("auc less se") == 2 and "over 2 data sets, auc" in printed
    assert main([*paths["x"], *paths["z"]]) == 0
    assert "no comparison over data sets: 0 models have auc on all 2 data sets" in capsys.readouterr().out


def test_few_images_of_a_class_or_finding_are_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b", "c"], [60, 56, 4])
    score = rng.dirichlet(np.ones(3), size=120)
    table = pd.DataFrame(
        {"image_id": np.arange(120), "label": label} | {f"score_{c}": score[:, k] for k, c in enumerate("abc")}
    )
    table.to_csv(tmp_path / "classes.csv", index=False)
    assert main([str(tmp_path / "classes.csv")]) == 0
    assert "Fewer than 30 images of c (4 positive): intervals are too narrow" in capsys.readouterr().out
    findings = {"label_x": np.arange(120) < 3, "label_y": np.arange(120) % 2, "label_z": np.zeros(120)}
    table = {"image_id": np.arange(120)} | {name: np.asarray(of, int) for name, of in findings.items()}
    pd.DataFrame(table | {f"score_{of}": rng.uniform(size=120) for of in "xyz"}).to_csv(tmp_path / "f.csv", index=False)
    assert main([str(tmp_path / "f.csv")]) == 0
    printed = capsys.readouterr().out
    assert "Fewer than 30 images of x (3 positive)" in printed
    assert "No test image has a label of z (positive): means over findings leave these out" in printed
