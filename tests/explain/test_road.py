"""ROAD against a dense system written down neighbour by neighbour, and images whose imputation is known."""

import itertools

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.explain.faithfulness import removal_rank
from attn_jax.explain.road import impute, road


def densely(image, gone):
    """One equation a removed pixel, as the code of the paper has it; solved without its structure."""
    *space, channels = image.shape
    unknown = [place for place in np.ndindex(*space) if gone[place]]
    left, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), channels))
    for i, own in enumerate(unknown):
        for step in itertools.product((-1, 0, 1), repeat=len(space)):
            place = tuple(np.add(own, step))
            if not any(step) or not all(0 <= at < side for at, side in zip(place, space, strict=True)):
                continue
            weight = 1 / 3 / 2 ** np.abs(step).sum()  # in an image 1/6 and 1/12
            left[i, i] += weight
            if gone[place]:
                left[i, unknown.index(place)] -= weight
            else:
                right[i] += weight * image[place]
    filled = image.copy()
    filled[gone] = np.linalg.solve(left, right)
    return filled


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("size", [(9, 7, 3), (5, 12, 1), (4, 6, 5, 2)])
def test_imputation_is_the_dense_system(size, share):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, *size))
    removed = rng.random((3, *size[:-1])) < share
    removed[:, 2, 3] = False
    before = images.copy()
    filled = impute(images, removed, noise=0)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(filled[~removed], images[~removed])
    for image, gone, found in zip(images, removed, filled, strict=True):
        np.testing.assert_allclose(found, densely(image, gone), atol=1e-5)


def test_a_large_hole_is_filled_as_by_a_direct_solver():
    image = np.cumsum(np.random.default_rng(0).normal(size=(40, 40, 1)), axis=0) / 6
    gone = np.zeros((40, 40), bool)
    gone[3:35, 5:37] = True
    found = impute(image[None], gone[None], noise=0)[0]
    np.testing.assert_allclose(found, densely(image, gone), atol=1e-4 * image.std())


def test_what_is_linear_comes_back_inside_the_image_and_what_is_constant_everywhere():
    rows, columns = np.mgrid[:14, :11]
    ramp = np.stack([2.0 * rows - columns + 3, 0.5 * columns], axis=-1)[None]
    rng = np.random.default_rng(1)
    removed = np.zeros((1, 14, 11), bool)
    removed[:, 1:-1, 1:-1] = rng.random((12, 9)) < 0.8
    np.testing.assert_allclose(impute(ramp, removed, noise=0), ramp, atol=1e-4)
    anywhere = rng.random((1, 14, 11)) < 0.9
    np.testing.assert_allclose(impute(np.full_like(ramp, 7), anywhere, noise=0), 7, atol=1e-5)
    filled = impute(ramp, anywhere, noise=0)  # a mean lies between what it is a mean of
    assert (filled >= ramp.min(axis=(1, 2), keepdims=True) - 1e-4).all()
    assert (filled <= ramp.max(axis=(1, 2), keepdims=True) + 1e-4).all()


def test_noise_is_added_to_removed_pixels_alone():
    images = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    removed = np.random.default_rng(1).random((2, 40, 40)) < 0.5
    filled, clean = impute(images, removed, noise=0.1, seed=3), impute(images, removed, noise=0)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~removed], images[~removed])
    grain = (filled - clean)[removed]
    assert abs(grain.mean()) < 0.005 and grain.std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(filled, impute(images, removed, noise=0.1, seed=3))
    assert (filled[removed] != impute(images, removed, noise=0.1, seed=4)[removed]).all()
    np.testing.assert_array_equal(impute(images[1:], removed[1:], noise=0.1, seed=3), filled[1:])
    np.testing.assert_array_equal(impute(images, np.zeros_like(removed)), images)


def linear(weights):
    return lambda images: (images * weights).reshape(len(images), -1).sum(axis=1)


def test_road_is_a_plain_loop():
    rng = np.random.default_rng(0)
    images, weights, maps = rng.normal(size=(3, 6, 5, 2)), rng.normal(size=(6, 5, 2)), rng.random((3, 6, 5))
    shapes = []

    def predict(given):
        shapes.append(given.shape)
        return linear(weights)(given)

    found = road(predict, images, maps, percentages=(10, 50, 90), noise=0, batch=4)
    assert shapes == [(4, 6, 5, 2)] * 5
    for i, image in enumerate(images):
        falling = []
        for j, count in enumerate((3, 15, 27)):
            ordered = np.sort(maps[i], axis=None)
            most = linear(weights)(densely(image, maps[i] >= ordered[-count])[None])[0]
            least = linear(weights)(densely(image, maps[i] <= ordered[count - 1])[None])[0]
            assert found.morf[i, j] == pytest.approx(most, rel=1e-5, abs=1e-5)
            assert found.lerf[i, j] == pytest.approx(least, rel=1e-5, abs=1e-5)
            falling.append((least - most) / 2)
        assert found.combined[i] == pytest.approx(np.mean(falling), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("size", [(20, 20, 1), (9, 8, 7, 1)])
def test_a_faithful_order_beats_a_random_one_and_the_reverse_loses(size):
    rng = np.random.default_rng(2)
    images = rng.normal(size=(8, *size))
    weights = rng.normal(size=size) / 20
    worth = (images * weights)[..., 0]
    true, reverse, chance = (
        road(linear(weights), images, maps).combined for maps in (worth, -worth, rng.random(worth.shape))
    )
    np.testing.assert_allclose(reverse, -true, atol=1e-12)
    assert (true > 3 * np.abs(chance)).all()


def test_ties_are_cut_at_the_percentage():
    images = np.random.default_rng(0).normal(size=(1, 10, 10, 1))
    maps = np.zeros((1, 10, 10))
    maps[0, 4, 4] = 1
    removed = []

    def predict(given):
        removed.extend((given != images).any(axis=-1))
        return np.zeros(len(given))

    road(predict, images, maps, percentages=(20,))
    most, least = removed
    assert most.sum() == least.sum() == 20 and most[4, 4] and not least[4, 4]
    np.testing.assert_array_equal(most, removal_rank(maps)[0] < 20)


def test_a_constant_map_has_the_seeded_order_and_one_that_is_not_finite_nothing():
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    maps = np.stack([np.ones((8, 8)), np.where(np.eye(8) > 0, np.inf, images[1, ..., 0])])
    predict = linear(np.random.default_rng(1).random((8, 8, 1)))
    found = road(predict, images, maps)
    for values in (found.morf, found.lerf, found.combined[:, None]):
        np.testing.assert_array_equal(np.isnan(values).all(axis=1), [0, 1])
    shuffled = -removal_rank(np.zeros((1, 8, 8)))
    np.testing.assert_array_equal(found.morf[0], road(predict, images[:1], shuffled).morf[0])


def test_mistakes():
    images, maps = np.ones((1, 4, 4, 1)), np.random.default_rng(0).random((1, 4, 4))
    for wrong in ((0, 20), (100,), (20, 99)):
        with pytest.raises(UserError, match="must each remove some of the 16 pixels, and leave some"):
            road(linear(1), images, maps, percentages=wrong)
    with pytest.raises(UserError, match="no pixel left"):
        impute(images, np.ones((1, 4, 4), bool))
    with pytest.raises(ValueError, match="bring maps to the image's size"):
        road(linear(1), images, maps[:, :2])
