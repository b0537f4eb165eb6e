"""SSIM and rank correlation against scikit-image and SciPy."""

import numpy as np
import pytest
from scipy import stats
from skimage.metrics import structural_similarity

from attn_jax.errors import UserError
from attn_jax.explain.similarity import spearman, ssim


def pairs(shape, count=5, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.gamma(0.5, size=(count, *shape)).cumsum(axis=-1)
    second = rng.lognormal(0, 3, size=(count, *[1] * len(shape))) * (first + rng.normal(0, 3, size=first.shape))
    return first, second.astype(np.float32)


def scaled(one):
    one = one.astype(np.float64)
    return (one - one.min()) / (one.max() - one.min())


@pytest.mark.parametrize("shape", [(7, 7), (20, 33), (9, 8, 11), (200, 190)], ids=str)
def test_ssim_is_scikit_images(shape):
    first, second = pairs(shape)
    wanted = [structural_similarity(scaled(a), scaled(b), data_range=1) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(ssim(first, second), wanted, rtol=1e-10)
    np.testing.assert_allclose(ssim(second * 7 + 3, first - 1), wanted, rtol=1e-4)
    assert len(set(np.round(wanted, 6))) == len(first)


@pytest.mark.parametrize("shape", [(5, 4), (20, 33), (4, 3, 5)], ids=str)
@pytest.mark.parametrize("values", [3, 10**9])
def test_spearman_is_scipys(shape, values):
    rng = np.random.default_rng(1)
    first = rng.integers(0, values, size=(5, *shape))
    second = first + rng.integers(0, values, size=first.shape)
    wanted = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), wanted, rtol=1e-12)
    np.testing.assert_allclose(spearman(first, np.exp(second / values)), wanted, rtol=1e-12)


@pytest.mark.parametrize("similarity", [ssim, spearman])
def test_a_map_is_itself_and_a_constant_one_is_like_none(similarity):
    first, _ = pairs((9, 8))
    np.testing.assert_allclose(similarity(first, first), 1)
    second = first.copy()
    second[1] = 4
    second[2, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(similarity(first, second)), [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(np.isnan(similarity(second, first)), [0, 1, 1, 0, 0])


def test_mistakes():
    for similarity in (ssim, spearman):
        with pytest.raises(ValueError, match="bring both to one size"):
            similarity(np.ones((1, 8, 8)), np.ones((1, 8, 9)))
    with pytest.raises(UserError, match="maps of 7 x 6 are too small"):
        ssim(np.ones((2, 7, 6)), np.ones((2, 7, 6)))
