"""Means over seeds by hand; different test images never meet."""

import math

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.evaluation.metrics import METRICS
from attn_jax.evaluation.records import Result
from attn_jax.evaluation.summary import leaderboard, rows


def result(auc: float | None, test_set: str = "t1") -> Result:
    metrics = {**dict.fromkeys(METRICS, 0.5), "auc": auc}
    undefined = {} if auc is not None else {"auc": "no positive test image"}
    return Result(metrics, undefined, {"b": 0.5}, {"b": metrics}, [[1, 0], [0, 1]], 2, test_set)


def labels(attention: str, seed: int, dataset: str = "skin") -> dict:
    return {"dataset": dataset, "attention": attention, "model": "resnet18", "placement": "block", "seed": seed}


def test_mean_and_deviation_over_seeds():
    found = rows(
        [(labels("se", s), result(a)) for s, a in enumerate((0.7, 0.8, 0.9))] + [(labels("none", 0), result(0.6))]
    )
    assert [(row.labels["attention"], row.seeds) for row in found] == [("se", (0, 1, 2)), ("none", (0,))]
    assert "seed" not in found[0].labels
    se, none = (row.metrics["auc"] for row in found)
    assert se.mean == pytest.approx(0.8) and se.sd == pytest.approx(0.1) and se.n == 3
    assert (none.mean, none.sd, none.n) == (0.6, None, 1)


def test_undefined_seeds_do_not_count():
    found = rows([(labels("se", 0), result(0.7)), (labels("se", 1), result(None))])[0]
    assert (found.metrics["auc"].mean, found.metrics["auc"].sd, found.metrics["auc"].n) == (0.7, None, 1)
    assert found.metrics["f1"].n == 2 and found.metrics["f1"].sd == 0
    never = rows([(labels("se", 0), result(None))])[0].metrics["auc"]
    assert (never.mean, never.sd, never.n) == (None, None, 0)


def test_different_test_images_never_meet():
    entries = [
        (labels("se", 0), result(0.7)),
        (labels("se", 1), result(0.9, "t2")),
        (labels("se", 0, "mri"), result(0.1)),
    ]
    assert [(row.test_set, row.metrics["auc"].mean) for row in rows(entries)] == [("t1", 0.7), ("t2", 0.9), ("t1", 0.1)]


def test_a_copy_is_no_repeat():
    with pytest.raises(UserError, match="attention=se.*seeds must differ"):
        rows([(labels("se", 0), result(0.7)), (labels("se", 0), result(0.7))])


def test_table():
    entries = [(labels("se", s), result(a)) for s, a in enumerate((0.7, 0.9, None))]
    table = leaderboard(entries)
    assert table.loc[0, ["attention", "seeds", "auc_n", "f1_n"]].tolist() == ["se", 3, 2, 3]
    assert table.loc[0, "auc"] == pytest.approx(0.8) and table.loc[0, "auc_sd"] == pytest.approx(math.sqrt(0.02))
    assert np.isnan(leaderboard(entries[:1]).loc[0, "auc_sd"])
