"""Energy and pointing on maps whose answers are known."""

import numpy as np
import pytest

from attn_jax.explain.localise import energy_in_mask, pointing


def test_energy_by_hand():
    maps = np.array([[[1, 2], [3, 4]], [[0, 0], [5, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    masks = np.array([[[0, 1], [0, 1]], [[1, 1], [0, 0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(energy_in_mask(maps, masks), [0.6, 0, np.nan, np.nan])


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
    mask = np.array([[1, 1], [0, 0]], dtype=bool)
    maps = np.array([[[1, 9], [3, 4]], [[1, 2], [3, 4]], [[9, 0], [9, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_array_equal(pointing(maps, np.stack([mask] * 4)), [1, 0, 0.5, np.nan])
    np.testing.assert_array_equal(pointing(maps[:1], np.zeros((1, 2, 2))), [np.nan])


def test_mistakes():
    with pytest.raises((ValueError, TypeError)):
        energy_in_mask(np.ones((1, 2, 2)), np.ones((1, 4, 4)))
    with pytest.raises((ValueError, TypeError)):
        pointing(np.ones((1, 2, 2)), np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="negative"):
        energy_in_mask(np.array([[-1.0, 2.0]]), np.ones((1, 2)))
