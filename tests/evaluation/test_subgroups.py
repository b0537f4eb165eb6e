"""Subgroups against evaluating each part by itself, and a planted weakness."""

import numpy as np
import pandas as pd
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.panel import panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.subgroups import by_column, columns


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=300) < 0.4
    view = rng.choice(["AP", "PA", ""], size=300, p=[0.3, 0.6, 0.1])
    table = pd.DataFrame({"view": view, "age": np.arange(300).astype(str), "one": "x"})
    sources = []
    for seed in range(2):
        score = 1 / (1 + np.exp(-rng.normal(np.where(view == "AP", 0.2, 2.0) * truth, 1)))
        pair = np.stack([1 - score, score], axis=1)
        sources.append(
            (
                str(seed),
                Predictions(
                    np.arange(300), truth.astype(int), pair, ("no", "yes"), columns=table, model="m", seed=str(seed)
                ),
            )
        )
    return panels(sources)[0]


def test_each_group_is_its_images_judged(panel):
    found = by_column(panel, "m", "view", "auc", lower_is_better=False, count=200)
    assert [group.name for group in found.groups] == ["AP", "PA", "unknown"]
    for group in found.groups:
        rows = panel.columns["view"].to_numpy() == ("" if group.name == "unknown" else group.name)
        expected = np.mean([evaluate(run.test.rows(rows)).metrics["auc"] for run in panel.runs["m"].values()])
        assert group.value == pytest.approx(expected) and group.images == rows.sum()
        assert group.interval.low < group.value < group.interval.high


def test_the_planted_weakness_is_the_worst_group(panel):
    found = by_column(panel, "m", "view", "auc", lower_is_better=False, count=500)
    assert found.worst == "AP" and found.gap > 0.2
    assert found.gap_interval.low > 0.1
    loss = by_column(panel, "m", "view", "log_loss", lower_is_better=True, count=200)
    assert loss.worst == max(loss.groups, key=lambda group: group.value).name
    assert loss.gap_interval.low < loss.gap < loss.gap_interval.high


def test_columns_that_are_groups(panel):
    assert columns(panel) == ("view",)
    with pytest.raises(UserError, match="column 'age' has 300 values"):
        by_column(panel, "m", "age", "auc", lower_is_better=False)
    with pytest.raises(UserError, match="no column 'sex'"):
        by_column(panel, "m", "sex", "auc", lower_is_better=False)
