"""Rankings of pixels against scikit-learn and plain loops, and what a shuffled AUC is for."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from attn_jax.explain.baselines import centre
from attn_jax.explain.ranking import average_precision, shuffled_auc


def made(shape, values, count=6, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.uniform(size=(count, *shape)) < rng.uniform(0.1, 0.6, size=(count, *[1] * len(shape)))
    maps = rng.integers(0, values, size=masks.shape) + 0.3 * values * masks
    return maps.astype(np.float32 if values < 100 else np.float64), masks


@pytest.mark.parametrize("shape", [(9, 7), (4, 5, 3)])
@pytest.mark.parametrize("values", [2, 5, 10**9])
def test_average_precision_is_that_of_scikit_learn(shape, values):
    maps, masks = made(shape, values)
    wanted = [average_precision_score(mask.ravel(), one.ravel()) for one, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(average_precision(maps, masks), wanted, rtol=1e-12)


def test_average_precision_of_maps_that_know_all_or_nothing():
    _, masks = made((9, 7), 5)
    np.testing.assert_array_equal(average_precision(masks * 3.0, masks), 1)
    np.testing.assert_allclose(average_precision(np.ones(masks.shape), masks), masks.mean(axis=(1, 2)))
    broken = masks * 1.0
    broken[2], broken[5, 0, 0] = np.nan, np.inf
    masks[4] = False
    np.testing.assert_array_equal(np.isnan(average_precision(broken, masks)), [0, 0, 1, 0, 1, 1])


@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 3)])
@pytest.mark.parametrize("values", [3, 10**9])
def test_shuffled_auc_is_a_plain_loop(shape, values):
    maps, masks = made(shape, values, count=4)
    masks[2] = False
    for i, found in enumerate(shuffled_auc(maps, masks)):
        chances = []
        for j in {0, 1, 3} - {i}:
            pairs = [(a, b) for a in maps[i][masks[i]] for b in maps[i][masks[j]]]
            chances.append(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]) if pairs else np.nan)
        assert found == pytest.approx(np.mean(chances), abs=1e-12, nan_ok=True)


def test_shuffled_auc_of_two_images_is_scikit_learn_on_the_pixels_of_both_masks():
    maps, masks = made((9, 7), 10**9, count=2)
    for i, found in enumerate(shuffled_auc(maps, masks)):
        own, other = maps[i][masks[i]], maps[i][masks[1 - i]]
        truth = np.repeat([1, 0], [own.size, other.size])
        assert found == pytest.approx(roc_auc_score(truth, np.concatenate([own, other])), abs=1e-12)


def test_a_map_that_is_the_same_for_all_images_is_worth_nothing_however_good_its_place():
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:40, :40]
    middle = rng.normal(20, 4, size=(2, 30, 1, 1))
    radius = rng.uniform(2, 9, size=(30, 1, 1))
    masks = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2
    maps = centre(masks.shape)
    plain = [roc_auc_score(mask.ravel(), one.ravel()) for one, mask in zip(maps, masks, strict=True)]
    assert np.mean(plain) > 0.9
    assert shuffled_auc(maps, masks).mean() == pytest.approx(0.5, abs=1e-12)
    assert shuffled_auc(masks * 1.0, masks).mean() > 0.7


def test_shuffled_auc_counts_order_only_and_reaches_its_ends():
    maps, masks = made((9, 7), 10**9)
    np.testing.assert_allclose(shuffled_auc(np.exp(maps / 1e9), masks), shuffled_auc(maps, masks), rtol=1e-12)
    np.testing.assert_allclose(shuffled_auc(-maps, masks), 1 - shuffled_auc(maps, masks), atol=1e-12)
    np.testing.assert_allclose(shuffled_auc(np.ones(masks.shape), masks), 0.5, atol=1e-12)
    apart = np.eye(3, dtype=bool).reshape(3, 1, 3)
    np.testing.assert_array_equal(shuffled_auc(apart * 1.0, apart), 1)
    np.testing.assert_array_equal(shuffled_auc(~apart * 1.0, apart), 0)


def test_shuffled_auc_is_undefined_without_masks_or_a_map():
    maps, masks = made((9, 7), 5, count=3)
    assert np.isnan(shuffled_auc(maps[:1], masks[:1])).all()
    np.testing.assert_array_equal(
        np.isnan(shuffled_auc(maps, masks & np.array([1, 1, 0], bool)[:, None, None])), [0, 0, 1]
    )
    assert np.isnan(shuffled_auc(maps, masks & np.array([1, 0, 0], bool)[:, None, None])).all()
    maps = maps.astype(np.float64)
    maps[1, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(shuffled_auc(maps, masks)), [0, 1, 0])


@pytest.mark.parametrize("measure", [average_precision, shuffled_auc])
def test_maps_and_masks_must_match(measure):
    with pytest.raises(ValueError, match="bring both to the image's size"):
        measure(np.ones((1, 2, 2)), np.ones((1, 4, 4)))
