"""The gallery's pictures: what is burned into them, in which order they come, and how heavy they get."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from attn_jax.report import gallery

TITLES = {"none": "none", "se": "SE"}


def decoded(picture) -> np.ndarray:
    """The pixels behind a data URI."""
    raw = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(raw))).astype(float)


@pytest.fixture(scope="module")
def items(contents):
    return [item for item in contents.gallery if item.dataset == "wild"]


def test_wrong_ones_come_first_and_captions_tell_all(items):
    built = gallery.build(items, "g", TITLES, simulated=False)
    assert [row.item.image_id == items[1].image_id for row in built.rows] == [True, False]
    said = built.rows[0].maps[0][1].alternative
    assert said == (
        f"Grad-CAM of none on {items[1].image_id}: label ill, predicted well (0.88), wrong, "
        "25 % of the map's energy in the lesion."
    )
    assert built.titles == ("none", "SE") and built.outlined


def test_shape_is_kept_and_lesion_outlined(items):
    bare = dataclasses.replace(items[0], mask=None)
    with_outline, without = (gallery.build([i], "g", TITLES, simulated=False).rows[0].plain for i in (items[0], bare))
    assert decoded(with_outline).shape == (179, 224, 3)
    changed = np.abs(decoded(with_outline) - decoded(without)).max(axis=-1) > 60
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    scale = 224 / 40
    assert rows[[0, -1]] == pytest.approx([8 * scale, 20 * scale], abs=6)
    assert columns[[0, -1]] == pytest.approx([10 * scale, 25 * scale], abs=6)
    middle = changed[int(10 * scale) : int(18 * scale), int(12 * scale) : int(23 * scale)]
    assert not middle.any(), "the lesion itself stays visible"


def test_outline_lies_just_outside():
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    rim = gallery.outline(mask, 1)
    assert rim.sum() == 12 and not (rim & mask).any()
    assert not gallery.outline(np.ones((4, 4), bool), 2).any()


def test_overlay_shows_the_image_where_the_map_is_cold():
    image = np.full((4, 4, 3), 120, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    drawn = gallery.overlay(image, heat)
    assert (drawn[1:] == 120).all()
    hot = 120 * (1 - gallery.MOST_OPAQUE) + 255 * gallery.MOST_OPAQUE * gallery.colours()[255]
    assert drawn[0, 0] == pytest.approx(hot, abs=1)


def test_colours_rise_evenly_in_lightness():
    grey = gallery.colours() @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(grey) > -1e-3).all() and grey[-1] - grey[0] > 0.9


@pytest.mark.parametrize("shape", [(224, 224), (112, 180), (40, 40)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_watermark_is_burned_into_any_ground(shape, level):
    image = np.full((*shape, 3), level, np.uint8)
    changed = (gallery.watermark(image) != image).any(axis=-1)
    assert changed.mean() > 0.02
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) > 0.3 * shape[0] and np.ptp(columns) > 0.3 * min(shape)


def test_simulated_pictures_differ_from_the_same_real_ones(items):
    real, made_up = (gallery.build(items, "g", TITLES, simulated=flag) for flag in (False, True))
    for one, other in zip(real.rows, made_up.rows, strict=True):
        assert np.abs(decoded(one.plain) - decoded(other.plain)).max() > 50
        assert other.plain.alternative.startswith("Simulated.")


def test_budget_holds_and_what_is_left_out_is_counted(items):
    rng = np.random.default_rng(0)
    noisy = [dataclasses.replace(items[0], image=rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(30)]
    built = gallery.build(noisy, "g", TITLES, simulated=False, budget=200_000)
    spent = sum(len(p.uri) for row in built.rows for p in (row.plain, *(entry[1] for entry in row.maps)))
    assert spent <= 200_000 and built.left_out == 30 - len(built.rows) > 0


def test_a_missing_map_leaves_its_place_empty(items):
    without = dataclasses.replace(items[0], columns=items[0].columns[1:])
    built = gallery.build([without, items[1]], "g", TITLES, simulated=False)
    assert [entry is None for entry in built.rows[1].maps] == [True, False]
