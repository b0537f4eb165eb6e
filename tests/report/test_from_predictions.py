"""A page of predictions from elsewhere: scikit-learn's models in, a page with evidence out."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

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
