"""Energy and pointing on maps whose answers are known; Otsu's overlap against scikit-image, OpenCV and plain loops."""

import cv2
import numpy as np
import pytest
from skimage.filters import threshold_otsu

from attn_jax.errors import UserError
from attn_jax.explain.localise import energy_in_mask, otsu, otsu_iou, pointing


def test_energy_by_hand():
    maps = np.array([[[1, 2], [3, 4]], [[0, 0], [5, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]], [[np.inf, 1], [1, 1]]])
    masks = np.array([[[0, 1], [0, 1]], [[1, 1], [0, 0]], [[0, 1], [1, 1]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    np.testing.assert_allclose(energy_in_mask(maps, masks), [0.6, 0, 0.75, np.nan, np.nan])


@pytest.mark.parametrize("shape", [(8, 8), (4, 5, 6)])
def test_energy_of_an_even_map_is_the_area_and_scale_does_not_matter(shape):
    rng = np.random.default_rng(0)
    masks = rng.uniform(size=(10, *shape)) < 0.3
    area = masks.reshape(10, -1).mean(axis=1)
    np.testing.assert_allclose(energy_in_mask(np.ones((10, *shape), np.float32), masks), area)
    maps = rng.gamma(1, size=(10, *shape))
    inside = energy_in_mask(maps, masks)
    np.testing.assert_allclose(energy_in_mask(maps * 1e-20, masks), inside)
    np.testing.assert_allclose(energy_in_mask(maps, ~masks), 1 - inside)
    np.testing.assert_allclose(energy_in_mask(masks * 0.5, masks), 1)


def test_pointing_by_hand():
    mask = np.array([[1, 0], [0, 0]], dtype=bool)
    maps = np.array([[[9, 1], [3, 4]], [[1, 2], [3, 4]], [[9, 0], [9, 0]], [[5, 5], [5, 5]]])
    np.testing.assert_array_equal(pointing(maps, np.stack([mask] * 4)), [1, 0, 0.5, 0.25])
    for tolerance in (0, 3):
        np.testing.assert_array_equal(pointing(maps[:1], np.zeros((1, 2, 2)), tolerance), [np.nan])
        for wrong in (np.nan, np.inf):
            np.testing.assert_array_equal(pointing(np.full((1, 2, 2), wrong), mask[None], tolerance), [np.nan])


@pytest.mark.parametrize("size", [(9, 12), (6, 5, 7)])
def test_pointing_counts_what_lies_within_its_tolerance(size):
    rng = np.random.default_rng(0)
    masks, maps = rng.uniform(size=(20, *size)) < 0.02, rng.uniform(size=(20, *size))
    masks[:, 2, 3] = True
    nearest = []
    for one, mask in zip(maps, masks, strict=True):
        highest = np.unravel_index(one.argmax(), size)
        nearest.append(min(np.linalg.norm(np.subtract(highest, place)) for place in np.argwhere(mask)))
    for tolerance in (0, 1, 1.5, 3):
        np.testing.assert_array_equal(pointing(maps, masks, tolerance), np.array(nearest) <= tolerance)
    assert 0 < pointing(maps, masks, 1.5).mean() < pointing(maps, masks, 3).mean() < 1
    alone = np.zeros((1, 5, 5), bool)
    alone[0, 2, 2] = True
    assert pointing(np.ones((1, 5, 5)), alone, 1)[0] == 5 / 25  # a constant map scores the share that is near


def blobs(shape, count=12, seed=0):
    """Smooth maps of several scales and offsets, and masks."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, side) for side in shape], indexing="ij"))
    centres = rng.uniform(size=(1, count, len(shape), *[1] * len(shape)))
    centres = np.concatenate([centres, centres + rng.normal(0, 0.15, size=centres.shape)])
    near = [np.exp(-((places - at) ** 2).sum(axis=1) / 0.08) for at in centres]
    maps = near[0] + 0.2 * rng.uniform(size=near[0].shape)
    scale = rng.lognormal(0, 3, size=(2, count, *[1] * len(shape)))
    return maps * scale[0] - scale[1], near[1] > 0.4


def levels(one):
    """A map as the code of CheXlocalize turns it into bytes."""
    return np.uint8(255 * ((one - one.min()) / (one.max() - one.min())))


@pytest.mark.parametrize("shape", [(40, 33), (12, 10, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_otsu_is_that_of_scikit_image_and_opencv(shape, seed):
    maps, _ = blobs(shape, seed=seed)
    foreground = otsu(maps)
    assert foreground.shape == maps.shape and 0 < foreground.mean() < 1
    for one, found in zip(maps, foreground, strict=True):
        as_bytes = levels(one)
        np.testing.assert_array_equal(found, as_bytes > threshold_otsu(as_bytes))
        drawn = cv2.threshold(as_bytes.reshape(len(as_bytes), -1), 0, 255, cv2.THRESH_OTSU)[1]
        np.testing.assert_array_equal(found, drawn.reshape(shape) > 0)


def test_otsu_of_several_equal_thresholds_takes_the_lowest():
    # Levels 0, 127, 128 and 255 with 1, 9, 9 and 1 pixels: the first and the last gap split equally well.
    maps = np.repeat([[0, 127.2, 128.2, 255]], [1, 9, 9, 1], axis=1)
    np.testing.assert_array_equal(otsu(maps), maps > 0)
    np.testing.assert_array_equal(otsu(np.full((2, 3), 4.0)), np.zeros((2, 3), bool))


@pytest.mark.parametrize("shape", [(40, 33), (12, 10, 9)])
def test_overlap_and_hits_are_plain_loops(shape):
    maps, masks = blobs(shape)
    overlap, hit = otsu_iou(maps, masks), pointing(maps, masks)
    for i, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        drawn = levels(one) > threshold_otsu(levels(one))
        both = sum(bool(a and b) for a, b in zip(drawn.flat, mask.flat, strict=True))
        either = sum(bool(a or b) for a, b in zip(drawn.flat, mask.flat, strict=True))
        assert overlap[i] == pytest.approx(both / either, abs=1e-12)
        assert hit[i] == mask.flat[one.argmax()]
    assert 0 < hit.mean() < 1 and 0 < overlap.mean() < 1


def test_overlap_and_hits_do_not_mind_scale_and_know_a_perfect_map():
    maps, masks = blobs((30, 30))
    scaled = (maps * 1e-30).astype(np.float32)
    np.testing.assert_allclose(otsu_iou(scaled, masks), otsu_iou(maps, masks), atol=0.01)
    np.testing.assert_array_equal(pointing(scaled, masks), pointing(maps, masks))
    for measure in (otsu_iou, pointing):
        np.testing.assert_array_equal(measure(masks.astype(np.uint8), masks), 1)
    np.testing.assert_array_equal(otsu_iou(~masks * 1.0, masks), 0)


def test_overlap_is_nothing_for_a_constant_map_and_undefined_without_a_mask_or_a_finite_map():
    maps = np.array([[[0.0, 1], [0, 0]], [[2, 2], [2, 2]], [[0, 1], [np.nan, 0]], [[0, 1], [0, np.inf]]])
    masks = np.ones((4, 2, 2), bool)
    np.testing.assert_array_equal(otsu_iou(maps, masks), [0.25, 0, np.nan, np.nan])
    assert np.isnan(otsu_iou(maps, 0 * masks)).all()


def test_mistakes():
    with pytest.raises(UserError, match="tolerance=-1 is not a distance"):
        pointing(np.ones((1, 2, 2)), np.ones((1, 2, 2)), -1)
    for measure in (energy_in_mask, pointing, otsu_iou):
        with pytest.raises(ValueError, match="bring both to the image's size"):
            measure(np.ones((1, 2, 2)), np.ones((1, 4, 4)))
        with pytest.raises(ValueError, match="bring both to the image's size"):
            measure(np.ones((1, 2, 2)), np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="negative"):
        energy_in_mask(np.array([[-1.0, 2.0]]), np.ones((1, 2)))
