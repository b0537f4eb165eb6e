"""The saliency scorecard: its numbers against plain loops over drawn patients, and what it says where nothing is."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from attn_jax.evaluation import replicates
from attn_jax.report.arms import comparisons
from attn_jax.report.contents import SCORES
from attn_jax.report.tables.scorecard import REPLICATES, scorecard

IDS = [f"i{n}" for n in range(20)]
GROUP = {image: f"p{n // 2}" for n, image in enumerate(IDS)}
RANDOMISED = [f"randomised_ssim/{layer}" for layer in ("head", "stem", "repaired")]
ALIKE = ["repeatability_ssim", "repeatability_ssim/repaired"]


def rows(key: str, method: str, metrics: list[str], rng: np.random.Generator) -> list[tuple]:
    """Random scores, some undefined."""
    drawn = [(i, m, math.nan if rng.random() < 0.2 else rng.random()) for m in metrics for i in IDS]
    return [(key, image, GROUP[image], method, metric, value) for image, metric, value in drawn]


@pytest.fixture(scope="module")
def scored(contents):
    """The small study with scores on `wild` but for one arm, and one run of another."""
    rng = np.random.default_rng(0)
    found = []
    for key in ("wild-none-0", "wild-none-1", "wild-se-0"):
        found += rows(key, "grad_cam", ["iou", "deletion", *RANDOMISED, *(ALIKE if "none" in key else [])], rng)
        found += rows(key, "centre", ["iou", "deletion"], rng)
    return dataclasses.replace(contents, scores=pd.DataFrame(found, columns=SCORES))


@pytest.fixture(scope="module")
def table(scored):
    return scorecard(scored, comparisons(scored)[0], "scorecard-wild")


def loop(scored, method: str, metric: str, keys: list[str]) -> tuple[float, float, float]:
    """The mean over the runs of their means over images, and its quantiles over drawn patients."""
    of = scored.scores
    part = of[(of["method"] == method) & (of["metric"] == metric) & of["key"].isin(keys)]
    every = of[of["metric"] == metric]
    order = sorted(set(every["image_id"]))
    cluster = replicates.clusters(np.array([GROUP[i] for i in order]), len(order))
    values = {key: part[part["key"] == key].set_index("image_id")["value"].loc[order].to_numpy() for key in keys}

    def mean(at: np.ndarray) -> float:
        return float(np.mean([np.nanmean(of[at]) for of in values.values()]))

    drawn = [
        mean(np.repeat(np.arange(len(order)), weights.astype(int)))
        for _, some in replicates.draws(np.random.default_rng(0), cluster, REPLICATES)
        for weights in some
    ]
    return mean(np.arange(len(order))), *np.quantile(drawn, [0.025, 0.975])


def entry(table, first: str, column: str):
    """The value in a row that begins so."""
    row = next(row for row in table.rows if row[0].shown.startswith(first))
    return row[[c.label for c in table.columns].index(column)]


def test_numbers_are_those_of_a_plain_loop(scored, table):
    assert table.caption.endswith("95 % bootstrap intervals over images.")  # the summary names no patients
    none, all_runs = ["wild-none-0", "wild-none-1"], ["wild-none-0", "wild-none-1", "wild-se-0"]
    cases = [
        ("none", "IoU", "grad_cam", "iou", none),
        ("SE", "Deletion", "grad_cam", "deletion", ["wild-se-0"]),
        ("Middle of the image", "IoU", "centre", "iou", all_runs),
        ("none", "Randomised, SSIM", "grad_cam", "randomised_ssim/stem", none),
        ("none", "Repeatability, SSIM", "grad_cam", "repeatability_ssim", none),
    ]
    for first, column, method, metric, keys in cases:
        value = entry(table, first if first != "none" else table.rows[0][0].shown, column)
        assert value.data[:3] == pytest.approx(loop(scored, method, metric, keys), abs=1e-9), (first, column)
        assert value.shown.startswith(f"{value.data[0]:.3f} ({value.data[1]:.3f} to {value.data[2]:.3f})")
    of = scored.scores
    repaired = of[(of["metric"] == "repeatability_ssim/repaired") & of["key"].isin(none)]
    expected = repaired.groupby("key")["value"].mean().mean()
    value = entry(table, table.rows[0][0].shown, "Repeatability, SSIM")
    assert value.data[3] == pytest.approx(expected) and value.shown.endswith(f" / {expected:.3f}")


def test_what_is_not_known_is_a_dash_with_its_reason(table):
    assert entry(table, "CBAM", "IoU").reason == "not scored"
    assert entry(table, "SE", "Repeatability, SSIM").reason == "needs two seeds, and Grad-CAM"
    middle = entry(table, "Middle of the image", "Repeatability, SSIM")
    assert middle.shown == "—" and not middle.reason
    assert any(note.endswith("finished cells are not scored.") for note in table.notes)


def test_the_best_arm_is_marked_and_a_baseline_never(scored, table):
    for column, best in (("IoU", max), ("Deletion", min)):
        values = {first: entry(table, first, column) for first in (table.rows[0][0].shown, "SE")}
        wanted = best(value.order for value in values.values())
        assert all(value.best == (value.order == wanted) for value in values.values())
        assert not entry(table, "Middle of the image", column).best


def test_where_nothing_is_known_there_is_no_table(scored):
    found = {comparison.dataset: scorecard(scored, comparison, "x") for comparison in comparisons(scored)[:2]}
    assert found["phantom"] is None and found["wild"] is not None
