"""Rankings of pixels against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from attn_jax.explain.ranking import average_precision


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


def test_maps_and_masks_must_match():
    with pytest.raises(ValueError, match="bring both to the image's size"):
        average_precision(np.ones((1, 2, 2)), np.ones((1, 4, 4)))
