"""Figures: what they draw, against the predictions and scikit-learn; and how they are written."""

import dataclasses
import io
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics

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
