"""Maps that know nothing against scikit-image, SciPy and what they promise."""

import numpy as np
import pytest
from scipy import stats
from skimage.filters import sobel

from attn_jax.explain.baselines import centre, edges, know_nothing, noise, segmentation
from attn_jax.explain.localise import otsu_iou, pointing


@pytest.mark.parametrize("size", [(20, 31), (7, 9, 8)])
def test_edges_are_scikit_images(size):
    images = np.random.default_rng(0).normal(size=(3, *size, 2)).astype(np.float32)
    wanted = [sobel(one.mean(axis=-1, dtype=np.float64)) for one in images]
    np.testing.assert_allclose(edges(images), wanted, atol=1e-12)


@pytest.mark.parametrize("size", [(20, 31), (6, 9, 8)])
def test_the_centre_is_a_gaussian_as_wide_as_the_image(size):
    maps = centre((2, *size), share=0.2)
    np.testing.assert_array_equal(maps[0], maps[1])
    for axis, side in enumerate(size):
        profile = np.moveaxis(maps[0], axis, 0).reshape(side, -1)[:, 0]
        wanted = stats.norm.pdf(np.arange(side) + 0.5, side / 2, 0.2 * side)
        np.testing.assert_allclose(profile / profile.sum(), wanted / wanted.sum(), rtol=1e-12)
    np.testing.assert_allclose(maps, np.flip(maps, axis=tuple(range(1, maps.ndim))), rtol=1e-12)
    assert centre((1, 5, 5))[0, 2, 2] == 1


def test_noise_is_uniform_and_seeded():
    drawn = noise((20, 30, 30), seed=3)
    np.testing.assert_array_equal(drawn, noise((20, 30, 30), seed=3))
    assert (drawn != noise((20, 30, 30), seed=4)).all()
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 0.01


def test_all_together_by_name():
    images = np.random.default_rng(0).normal(size=(3, 9, 8, 7, 1))
    found = know_nothing(images, seed=5)
    assert list(found) == ["centre", "edges", "random"]
    assert all(maps.shape == (3, 9, 8, 7) for maps in found.values())
    np.testing.assert_array_equal(found["random"], noise((3, 9, 8, 7), 5))
    found["centre"][0] = 0  # each image has its own
    assert found["centre"][1].max() > 0


def test_the_mask_is_the_ceiling():
    masks = np.random.default_rng(0).integers(0, 3, size=(4, 9, 9))
    for measure in (otsu_iou, pointing):
        np.testing.assert_array_equal(measure(segmentation(masks), masks), 1)
