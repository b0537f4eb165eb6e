"""The saliency scorecard: its numbers against plain loops over drawn patients, and what it says where nothing is."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from attn_jax.evaluation import replicates
from attn_jax.report.arms import comparisons
from attn_jax.report.contents import SCORES, UNSCORED
from attn_jax.report.tables.scorecard import scorecards
from attn_jax.report.tables.scorecard_numbers import REPLICATES

IDS = [f"i{n}" for n in range(20)]
GROUP = {image: f"p{n // 2}" for n, image in enumerate(IDS)}
RANDOMISED = [f"randomised_ssim/{layer}" for layer in ("head", "stem", "repaired")]
BAD = "UserError: the network is gone"
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
        metrics = ["iou", "deletion", "deletion_gain", "constant", *RANDOMISED, *(ALIKE if "none" in key else [])]
        found += rows(key, "grad_cam", metrics, rng)
        for name in ("centre", "edges", "segmentation"):
            found += rows(key, name, ["iou", "deletion", "deletion_gain"], rng)
    why = [("wild-none-0", "attention", "no place"), ("wild-none-1", "attention", "no place"), ("wild-cbam-0", "", BAD)]
    return dataclasses.replace(
        contents, scores=pd.DataFrame(found, columns=SCORES), unscored=pd.DataFrame(why, columns=UNSCORED)
    )


@pytest.fixture(scope="module")
def table(scored):
    return scorecards(scored, comparisons(scored)[0], "wild")[0]


@pytest.fixture(scope="module")
def beyond(scored):
    return scorecards(scored, comparisons(scored)[0], "wild")[1]


def loop(scored, method: str, metric: str, keys: list[str], beside: str = "") -> tuple[float, float, float]:
    """The mean over the runs of their means over images, and its quantiles over drawn patients."""
    of = scored.scores[(scored.scores["metric"] == metric) & scored.scores["key"].isin(keys)]
    order = sorted(IDS)
    cluster = replicates.clusters(np.array([GROUP[i] for i in order]), len(order))
    values = {
        (name, key): part.set_index("image_id")["value"].loc[order].to_numpy()
        for (name, key), part in of.groupby(["method", "key"])
    }

    def mean(name: str, at: np.ndarray) -> float:
        return float(np.mean([np.nanmean(values[name, key][at]) for key in keys]))

    def number(at: np.ndarray) -> float:
        return mean(method, at) - (mean(beside, at) if beside else 0)

    drawn = [
        number(np.repeat(np.arange(len(order)), weights.astype(int)))
        for _, some in replicates.draws(np.random.default_rng(0), cluster, REPLICATES)
        for weights in some
    ]
    return number(np.arange(len(order))), *np.quantile(drawn, [0.025, 0.975])


def entry(table, first: str, column: str):
    """The value in the row of Grad-CAM or of a baseline that begins so."""
    row = next(
        row for row in table.rows if row[0].shown.startswith(first) and "attention" not in [v.shown for v in row]
    )
    return row[[c.label for c in table.columns].index(column)]


def test_numbers_are_those_of_a_plain_loop(scored, table):
    assert "95 % bootstrap interval over images" in table.caption  # the summary names no patients
    none, all_runs = ["wild-none-0", "wild-none-1"], ["wild-none-0", "wild-none-1", "wild-se-0"]
    cases = [
        ("none", "IoU", "grad_cam", "iou", none),
        ("SE", "Deletion, gain", "grad_cam", "deletion_gain", ["wild-se-0"]),
        ("none", "Constant maps", "grad_cam", "constant", none),
        ("Middle of the image", "IoU", "centre", "iou", all_runs),
        ("none", "Randomised, SSIM", "grad_cam", "randomised_ssim/stem", none),
        ("none", "Repeatability, SSIM", "grad_cam", "repeatability_ssim", none),
    ]
    for first, column, method, metric, keys in cases:
        value = entry(table, first if first != "none" else table.rows[0][0].shown, column)
        assert value.data[:3] == pytest.approx(loop(scored, method, metric, keys), abs=1e-9), (first, column)
        of = scored.scores[(scored.scores["method"] == method) & (scored.scores["metric"] == metric)]
        images = of[of["key"].isin(keys)].dropna(subset="value")["image_id"].nunique()
        assert value.data[3] == images
        shown = f"{value.data[0]:.3f} ({value.data[1]:.3f} to {value.data[2]:.3f}; {images})"
        assert value.shown.startswith(shown)
    of = scored.scores
    repaired = of[(of["metric"] == "repeatability_ssim/repaired") & of["key"].isin(none)]
    expected = repaired.groupby("key")["value"].mean().mean()
    value = entry(table, table.rows[0][0].shown, "Repeatability, SSIM")
    assert value.data[4] == pytest.approx(expected) and value.shown.endswith(f" / {expected:.3f}")


def test_raw_probabilities_are_not_compared(table):
    labels = [column.label for column in table.columns]
    assert "Deletion" not in labels and "Insertion" not in labels


def test_what_is_not_known_is_a_dash_with_its_reason(table):
    assert entry(table, "CBAM", "IoU").reason == BAD
    assert entry(table, "SE", "Repeatability, SSIM").reason == "needs two seeds"
    middle = entry(table, "Middle of the image", "Repeatability, SSIM")
    assert middle.shown == "—" and not middle.reason
    assert any(note.endswith(f"finished cells are not scored: {BAD}.") for note in table.notes)


def test_a_method_that_a_network_cannot_give_is_a_dash_with_that_reason(table):
    labels = [column.label for column in table.columns]
    row = next(row for row in table.rows if row[labels.index("Map")].shown == "attention")
    assert [value.reason for value in row[labels.index("IoU") :]] == ["no place"] * (len(labels) - labels.index("IoU"))


def test_differences_are_to_the_best_map_that_knows_nothing(scored, beyond):
    for first, keys in (("none", ["wild-none-0", "wild-none-1"]), ("SE", ["wild-se-0"])):
        for column, metric in (("IoU", "iou"), ("Deletion, gain", "deletion_gain")):
            means = {name: loop(scored, name, metric, keys)[0] for name in ("centre", "edges")}
            best = max(means, key=means.__getitem__)
            value = entry(beyond, beyond.rows[0][0].shown if first == "none" else first, column)
            assert value.data[:3] == pytest.approx(loop(scored, "grad_cam", metric, keys, beside=best), abs=1e-9)
            assert value.reason == {"centre": "beside middle of the image", "edges": "beside edges"}[best]
    assert len(beyond.rows) == 2 * len(comparisons(scored)[0].arms)


def test_the_best_arm_is_marked_and_a_baseline_never(scored, table):
    for column in ("IoU", "Deletion, gain"):
        values = {first: entry(table, first, column) for first in (table.rows[0][0].shown, "SE")}
        wanted = max(value.order for value in values.values())
        assert all(value.best == (value.order == wanted) for value in values.values())
        assert not entry(table, "Middle of the image", column).best


def test_where_nothing_is_known_there_is_no_table_but_a_reason(scored):
    wild, phantom = comparisons(scored)[:2]
    assert scorecards(scored, phantom, "x") == () and len(scorecards(scored, wild, "x")) == 2
    nothing = dataclasses.replace(scored, scores=scored.scores.iloc[:0])
    (only,) = scorecards(nothing, wild, "x")
    assert [row[-1].shown for row in only.rows] == [BAD]
