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
    for model in (LogisticRegression(), RandomForestClassifier(50, random_state=0)):
        score = model.fit(x[:300], y[:300]).predict_proba(x[300:])[:, 1]
        sex = rng.choice(["f", "m"], size=300)
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


def test_an_unknown_baseline_is_one_line(files, tmp_path, capsys):
    assert main([*files, "--baseline", "Forest", "--out", str(tmp_path / "page")]) == 2
    assert "no predictions of a model 'Forest'" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
