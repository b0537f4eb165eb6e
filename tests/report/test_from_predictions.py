"""A page of predictions from elsewhere: scikit-learn's models in, a page with evidence out."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from attn_jax.evaluation.__main__ import main as evaluation
from attn_jax.report.__main__ import main


@pytest.fixture
def files(tmp_path):
    """Two classifiers of the same planted features, written as anybody would write them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5))
    y = rng.uniform(size=600) < 1 / (1 + np.exp(-2 * x[:, 0] - x[:, 1] * x[:, 2]))
    paths = []
    sex = rng.choice(["f", "m"], size=300)
    for model in (LogisticRegression(), RandomForestClassifier(50, random_state=0)):
        score = model.fit(x[:300], y[:300]).predict_proba(x[300:])[:, 1]
        split = np.where(np.arange(300) < 100, "val", "test")
        path = tmp_path / f"{type(model).__name__}.csv"
        table = {"image_id": np.arange(300), "label": y[300:].astype(int), "score": score, "sex": sex, "split": split}
        pd.DataFrame(table).to_csv(path, index=False)
        paths.append(str(path))
    return paths


def test_a_page_of_scikit_learns_models(files, tmp_path, capsys):
    out = tmp_path / "page"
    assert main([*files, "--baseline", "LogisticRegression", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    page = (out / "report.html").read_text()
    assert "RandomForestClassifier" in page and "Differences to the baseline" in page and "Subgroups" in page
    assert "Step time" not in page and "near-duplicate" not in page
    stored = json.loads((out / "evidence.json").read_text())
    (found,) = stored["datasets"]
    assert found["baseline"] == "LogisticRegression" and found["images"] == 200
    table = pd.read_csv(next(iter((out / "tables").glob("contests-*.csv"))))
    assert table["delta"][0] == pytest.approx(found["contests"][0]["effects"]["auc"]["value"])


def test_one_file_gets_its_evidence(files, tmp_path):
    out = tmp_path / "page"
    assert main([files[0], "--metric", "brier", "--margin", "0.05", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Every metric with its interval" in page and "Calibration" in page and "Decision curves" in page
    assert "Differences to the baseline" not in page and "Letters" not in page
    stored = json.loads((out / "evidence.json").read_text())
    assert (stored["settings"]["metric"], stored["settings"]["margin"]) == ("brier", 0.05)
    (found,) = stored["datasets"]
    of = found["models"]["LogisticRegression"]
    assert of["metrics"]["ece"]["intervals"] == {} and "by chance" in of["metrics"]["ece"]["undefined"]["intervals"]
    board = pd.read_csv(next(iter((out / "tables").glob("leaderboard-*.csv"))))
    interval = of["metrics"]["brier"]["intervals"]["patients logit t"]
    assert (board["brier_low"][0], board["brier_high"][0]) == (interval["low"], interval["high"])


def test_left_out_images_are_said_on_the_page(files, tmp_path):
    fewer = tmp_path / "fewer.csv"
    pd.read_csv(files[1]).iloc[:-7].to_csv(fewer, index=False)
    assert main([files[0], str(fewer), "--common", "--out", str(tmp_path / "page")]) == 0
    assert "7 test images that some models lack are left out" in (tmp_path / "page" / "report.html").read_text()
    stored = json.loads((tmp_path / "page" / "evidence.json").read_text())
    assert stored["datasets"][0]["left_out"] == 7


def test_a_file_is_no_folder_for_a_report(files, capsys):
    assert main([*files, "--out", files[0]]) == 2
    assert capsys.readouterr().err.strip() == f"error: report folder {files[0]}: {files[0]} is a file; name a folder"


def test_an_unknown_baseline_is_one_line(files, tmp_path, capsys):
    assert main([*files, "--baseline", "Forest", "--out", str(tmp_path / "page")]) == 2
    assert "no predictions of a model 'Forest'" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def named(tmp_path, models, *, seeds=None, dataset="d", group=None):
    """One file for each model; each better than the last."""
    rng = np.random.default_rng(1)
    truth = np.arange(90) % 2
    shared, paths = rng.normal(size=90), []
    for k, model in enumerate(models):
        score = 1 / (1 + np.exp(-shared - 0.5 * rng.normal(size=90) - (0.5 + k) * truth))
        table = {"image_id": np.arange(90), "label": truth, "score": score, "model": model, "dataset": dataset}
        table |= {"seed": seeds[k]} if seeds and seeds[k] else {}
        table |= {"group": np.arange(90) // 3} if group and k in group else {}
        path = tmp_path / f"{dataset}-{k}.csv"
        pd.DataFrame(table).to_csv(path, index=False)
        paths.append(str(path))
    return paths


def evidence(folder):
    return json.loads((folder / "evidence.json").read_text())["datasets"]


@pytest.mark.parametrize("models", [("se", "SE"), ("a:v1", "b:v1", "v1"), ("m", "m-1")])
def test_models_are_called_as_their_files_call_them(tmp_path, models):
    seeds = ("1", "") if models[0] == "m" else None
    assert main([*named(tmp_path, models, seeds=seeds), "--out", str(tmp_path / "page")]) == 0
    (found,) = evidence(tmp_path / "page")
    assert tuple(found["models"]) == models
    board = pd.read_csv(tmp_path / "page" / "tables" / "leaderboard-d.csv").set_index("attention")
    assert set(board.index) == set(models)
    for model in models:
        assert board.loc[model, "auc"] == pytest.approx(found["models"][model]["metrics"]["auc"]["value"])
        interval = found["models"][model]["metrics"]["auc"]["intervals"]["delong"]
        assert (board.loc[model, "auc_low"], board.loc[model, "auc_high"]) == (interval["low"], interval["high"])


@pytest.mark.parametrize("group", [(0,), (1,)])
def test_patients_named_by_one_file_are_the_patients_of_all(tmp_path, group):
    assert main([*named(tmp_path, ("none", "se"), group=group), "--out", str(tmp_path / "page")]) == 0
    (found,) = evidence(tmp_path / "page")
    assert found["patients"] == 30


def test_without_a_baseline_common_to_all_each_data_set_has_its_own_as_in_the_terminal(tmp_path):
    paths = [*named(tmp_path, ("se", "none")), *named(tmp_path, ("eca", "gc"), dataset="e")]
    assert main([*paths, "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "report.html").read_text()
    assert "No comparison: 0 models have auc on all 2 data sets" in page
    assert evaluation([*paths, "--json", str(tmp_path / "told.json")]) == 0
    told = json.loads((tmp_path / "told.json").read_text())["datasets"]
    for found, of in zip(evidence(tmp_path / "page"), told, strict=True):
        contests = [(contest["first"], contest["second"]) for contest in found["contests"]]
        assert contests == [(contest["first"], contest["second"]) for contest in of["contests"]]
        assert contests == {"d": [("se", "none")], "e": [("gc", "eca")]}[found["dataset"]]


def test_a_data_set_called_as_unnamed_ones_are_stays_apart(tmp_path):
    paths = [*named(tmp_path, ("none", "se"), dataset=""), *named(tmp_path, ("none", "se"), dataset="predictions")]
    assert main([*paths, "--out", str(tmp_path / "page")]) == 0
    assert [found["dataset"] for found in evidence(tmp_path / "page")] == ["predictions+", "predictions"]


def test_settings_name_the_baseline(tmp_path):
    paths = named(tmp_path, ("none", "se"))
    assert main([*paths, "--baseline", "se", "--out", str(tmp_path / "page")]) == 0
    told = json.loads((tmp_path / "page" / "evidence.json").read_text())
    assert told["settings"]["baseline"] == "se"
    assert [(contest["first"], contest["second"]) for contest in told["datasets"][0]["contests"]] == [("none", "se")]
