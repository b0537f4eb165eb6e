"""Figures: what they draw, against the predictions and scikit-learn; and how they are written."""

import dataclasses
import io
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics

from attn_jax.evaluation.panel import of_folds, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.replicates import draws
from attn_jax.report.arms import comparisons
from attn_jax.report.figures import confusion, cost, palette, roc, training


@pytest.fixture(scope="module")
def compared(contents):
    return comparisons(contents)[:2]


@pytest.fixture(scope="module")
def looks(contents, compared):
    return [palette.looks(c, list(dict.fromkeys(contents.cells["attention"]))) for c in compared]


def test_mean_curve_has_the_area_of_scikit_learn(contents):
    for predictions in contents.predictions.values():
        area = np.trapezoid(roc.mean_curve(predictions), roc.GRID)
        assert area == pytest.approx(metrics.roc_auc_score(predictions.label, predictions.score[:, 1]), abs=0.005)


def test_curve_needs_both_classes(contents):
    first = next(iter(contents.predictions.values()))
    assert roc.mean_curve(first.rows(first.label == 1)) is None


@pytest.mark.parametrize("kind", ["two", "three", "findings"])
def test_band_is_that_of_curves_of_repeated_images(kind):
    rng = np.random.default_rng(3)
    classes = ("a", "b", "c")[: 2 if kind == "two" else 3]
    label = rng.integers(0, len(classes), 40) if kind != "findings" else rng.choice([0, 1, np.nan], (40, 3))
    more = {"group": np.arange(40) // 2, "kind": "multilabel" if kind == "findings" else "single", "model": "SE"}
    tests = [
        Predictions(np.arange(40), label, rng.dirichlet(np.ones(len(classes)), 40), classes, seed=str(seed), **more)
        for seed in range(2)
    ]
    (panel,) = panels([("SE", test) for test in tests])
    weights = np.concatenate([of for _, of in draws(np.random.default_rng(4), panel.cluster, 30)])
    rows = [np.repeat(np.arange(40), of.astype(int)) for of in weights]
    again = [
        [Predictions(np.arange(40), t.label[at], t.score[at], classes, more["kind"]) for t in tests] for at in rows
    ]
    plain = np.stack([np.mean([roc.mean_curve(t) for t in both], axis=0) for both in again])
    band = roc.band(panel, "SE", count=30, seed=4)
    np.testing.assert_allclose(band, np.quantile(plain, [0.025, 0.975], axis=0), atol=1e-9)


def test_roc_has_bands_of_the_baseline_and_the_best(contents, compared, looks):
    runs = {arm.label: {key: contents.predictions[key] for key in arm.keys} for arm in compared[0].arms}
    same = next(iter(contents.predictions.values())).label
    assert all((of.label == same).all() for of in contents.predictions.values())
    panel = of_folds("wild", runs)
    figure = roc.figure(compared[0], contents, looks[0], "roc", panel)
    banded = figure.data.loc[figure.data["low"].notna(), "arm"].unique()
    assert set(banded) == {"none", "SE"} and "bootstrap over images (1000 replicates)" in figure.caption
    line = figure.data[figure.data["arm"] == "SE"].groupby("false_positive_rate")
    assert (line["low"].first() <= line["true_positive_rate"].mean() + 1e-12).mean() > 0.95
    assert "low" not in roc.figure(compared[0], contents, looks[0], "roc").data


def test_roc_data_hold_every_seed(contents, compared, looks):
    figure = roc.figure(compared[0], contents, looks[0], "roc")
    assert set(figure.data["key"]) == {key for arm in compared[0].arms for key in arm.keys}
    assert "operating point" in figure.caption and "SE  0.880 ± 0.042" in figure.svg


def test_confusion_sums_seeds(compared):
    figure = confusion.figures(compared[0], ("well", "ill"), "c")[0]
    assert figure.data["count"].tolist() == [12, 8, 4, 16]
    assert figure.data["share_of_row"].tolist() == [0.6, 0.4, 0.2, 0.8]
    assert "60 %" in figure.svg


def test_findings_have_no_matrix(compared):
    none = [dataclasses.replace(r, confusion=None) for r in compared[0].arms[0].results.values()]
    arm = dataclasses.replace(compared[0].arms[0], results=dict(enumerate(none)))
    assert confusion.summed(arm) is None


def test_training_line_ends_where_the_shortest_ends():
    mean = training.mean_line([pd.Series([1.0, 3.0], index=[0, 10]), pd.Series([3.0, 3.0, 9.0], index=[0, 5, 20])])
    assert mean.to_dict() == {0: 2.0, 5: 2.5, 10: pytest.approx((3 + 5) / 2)}


def test_long_histories_are_thinned():
    line = pd.Series(np.arange(1000.0), index=np.arange(1000.0))
    short = training.thinned(line)
    assert len(short) == training.MOST_POINTS and short.to_numpy() == pytest.approx(short.index.to_numpy())


def test_unmeasured_quantities_are_left_out(contents, compared, looks):
    assert [f.name for f in training.figures(compared[0], contents, looks[0], "t")] == ["t-train_loss", "t-val_auc"]
    dear = [dataclasses.replace(arm, cells=arm.cells.assign(step_seconds=None)) for arm in compared[0].arms]
    drawn = cost.figures(dataclasses.replace(compared[0], arms=tuple(dear)), looks[0], "c")
    assert [f.name for f in drawn] == ["c-parameters", "c-gmacs", "c-step_bytes", "c-compile_seconds"]


@pytest.mark.parametrize("lower", [True, False])
def test_front_is_what_no_arm_beats(lower):
    rng = np.random.default_rng(0)
    spent, level = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 40).astype(float)
    sign = -1 if lower else 1

    def beaten(k):
        others = [(c, sign * q) for c, q in zip(spent, level, strict=True)]
        mine = (spent[k], sign * level[k])
        return any(c <= mine[0] and q >= mine[1] and (c, q) != mine for c, q in others)

    assert cost.front(spent, level, lower_is_better=lower).tolist() == [not beaten(k) for k in range(40)]


def test_front_is_in_the_data_and_named(contents, compared, looks):
    dear = {"none": 1.0, "SE": 2.0, "CBAM": 3.0}
    arms = [dataclasses.replace(a, cells=a.cells.assign(gmacs=dear.get(a.label, 9.0))) for a in compared[0].arms]
    drawn = {f.name: f for f in cost.figures(dataclasses.replace(compared[0], arms=tuple(arms)), looks[0], "c")}
    figure = drawn["c-gmacs"]
    assert list(figure.data.loc[figure.data["front"], "arm"]) == ["none", "SE"]
    assert "none and SE" in figure.caption and figure.svg.count('id="c-gmacs-front"') == 1


def test_a_mechanism_keeps_its_look_over_data_sets(looks):
    for label in ("none", "SE", "CBAM"):
        assert looks[0][label] == looks[1][label]
    everyone = [(look.colour, look.marker) for look in looks[0].values()]
    assert len(set(everyone)) == len(everyone)
    assert looks[0]["none"].dash != "-" and looks[0]["SE"].dash == "-"


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two colours."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_lines_stand_out_from_both_grounds():
    assert all(contrast(colour, "#ffffff") >= 3 for colour in (*palette.LIGHT, palette.INK, palette.FAINT))
    assert all(contrast(colour, "#1a1e26") >= 3 for colour in palette.DARK)


def test_files_are_whole_pictures(folder):
    drawn = sorted(folder.glob("figures/*.svg"))
    assert len(drawn) > 20
    for path in drawn:
        xml.etree.ElementTree.parse(path)
        with Image.open(path.with_suffix(".png")) as picture:
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255), "readable outside the page, in dark too"
        assert len(pd.read_csv(path.with_suffix(".csv")))


def test_page_figures_take_their_colours_from_the_page(contents, compared, looks):
    figure = roc.figure(compared[0], contents, looks[0], "roc")
    assert "var(--ink)" in figure.inline and "var(--series-0)" in figure.inline
    assert not any(colour.lower() in figure.inline.lower() for colour in (*palette.LIGHT, palette.INK))
    assert io.StringIO(figure.inline).read(4) == "<svg" and "xmlns" not in figure.inline[:200]
