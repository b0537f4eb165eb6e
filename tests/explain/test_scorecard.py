"""Scores of maps whose place and worth are known, and the maps that stand beside them."""

import numpy as np
import pytest

from attn_jax.explain.scorecard import BASELINES, METRICS, beside, faithfulness, in_favour, localisation

SIDE = 24


@pytest.fixture
def masks() -> np.ndarray:
    """Two squares and nothing."""
    found = np.zeros((3, SIDE, SIDE), np.uint8)
    found[0, 2:8, 3:9] = found[1, 12:20, 10:22] = 1
    return found


def test_a_map_of_the_mask_has_all_and_one_of_the_rest_nothing(masks: np.ndarray) -> None:
    inside, outside = localisation(masks, masks), localisation(1 - masks, masks)
    for name in ("iou", "hit", "pointing", "energy", "auprc"):
        np.testing.assert_allclose(inside[name][:2], 1)
        assert np.isnan(inside[name][2]), "an empty mask has no score"
    for name in ("iou", "hit", "energy"):
        np.testing.assert_allclose(outside[name][:2], 0)
    area = masks.mean(axis=(1, 2))
    np.testing.assert_allclose(outside["auprc"][:2], area[:2])  # all pixels outside first, then all inside at once
    even = localisation(np.ones_like(masks), masks)
    np.testing.assert_allclose(even["energy"][:2], area[:2])
    np.testing.assert_allclose(even["auprc"][:2], area[:2])
    np.testing.assert_allclose(even["hit"][:2], area[:2])
    np.testing.assert_array_equal(even["iou"][:2], 0)
    assert all(np.isnan(values[2]) for values in even.values())


def test_pointing_allows_for_15_of_224_pixels_of_the_longer_side() -> None:
    masks, maps = np.zeros((4, 40, 90)), np.zeros((4, 40, 90))
    masks[:, 10:20, 10:20] = 1
    for one, column in zip(maps, (19, 20, 25, 26), strict=True):  # 15 / 224 * 90 is 6.03
        one[15, column] = 1
    found = localisation(maps, masks)
    np.testing.assert_array_equal(found["hit"], [1, 0, 0, 0])
    np.testing.assert_array_equal(found["pointing"], [1, 1, 1, 0])


def test_the_nearer_a_map_the_better_its_scores(masks: np.ndarray) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def blob(row: float, column: float) -> np.ndarray:
        return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18)[None]

    near, far = (localisation(blob(*place), masks[:1]) for place in ((4.5, 5.5), (8, 9)))
    assert all(near[name][0] > far[name][0] for name in ("iou", "hit", "energy", "auprc"))


@pytest.mark.parametrize("size", [(20, 22), (9, 10, 8)])
def test_a_map_of_what_the_network_looks_at_is_more_faithful_than_its_opposite(size: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    square = np.zeros(size)
    square[tuple(slice(2, 5) for _ in size)] = 1
    images = (square + 0.1 * rng.random((4, *size)))[..., None]

    def predict(batch: np.ndarray) -> np.ndarray:
        return (batch[..., 0] * square).reshape(len(batch), -1).sum(axis=1) / square.sum()

    maps = square + 0.01 * rng.random((4, *size))
    right, wrong = (faithfulness(predict, images, of, batch=16) for of in (maps, -maps))
    assert set(right) == {"insertion", "deletion", "road"}
    for name, values in right.items():
        assert ((values > wrong[name]) if METRICS[name].higher_is_better else (values < wrong[name])).all()
    even = faithfulness(predict, images, np.ones((4, *size)))
    assert all(np.isfinite(values).all() for values in even.values())
    gone = faithfulness(predict, images, np.full((4, *size), np.nan))
    assert all(np.isnan(values).all() for values in gone.values())


def test_every_metric_is_known_by_what_it_needs(masks: np.ndarray) -> None:
    placed = localisation(masks, masks)
    needed = faithfulness(lambda batch: batch.mean(axis=(1, 2, 3)), masks[..., None] + 0.5, masks)
    assert {name for name, of in METRICS.items() if of.needs == "masks"} == set(placed)
    assert {name for name, of in METRICS.items() if of.needs == "predict"} == set(needed)


def test_what_stands_beside_a_method(masks: np.ndarray) -> None:
    images = np.random.default_rng(0).random((3, SIDE, SIDE, 2))
    assert set(beside(images, None)) == set(BASELINES) - {"segmentation"}
    found = beside(images, masks)
    assert set(found) == set(BASELINES)
    assert all(maps.shape == masks.shape and (maps >= 0).all() for maps in found.values())
    np.testing.assert_array_equal(found["segmentation"], masks)
    assert not np.array_equal(found["random"], beside(images, masks, seed=1)["random"])
    pixels = np.unravel_index(found["centre"].reshape(3, -1).argmax(axis=1), (SIDE, SIDE))
    assert np.isin(pixels, (SIDE // 2 - 1, SIDE // 2)).all()


def test_what_speaks_against_the_class_is_left_out() -> None:
    maps = np.array([[[-2.0, 3.0], [0.5, -1.0]]])
    for method in ("occlusion", "integrated_gradients", "rise"):
        np.testing.assert_array_equal(in_favour(maps, method), [[[0, 3], [0.5, 0]]])
    np.testing.assert_array_equal(in_favour(maps, "grad_cam"), maps)
