"""Insertion and deletion against plain loops and a linear network, whose areas are known."""

import numpy as np
import pytest
from skimage.filters import gaussian

from attn_jax.errors import UserError
from attn_jax.explain.faithfulness import deletion, insertion, orders, removal_rank


def linear(weights, offset=0.0):
    """A network that sums what its pixels are worth."""
    return lambda images: (images * weights).reshape(len(images), -1).sum(axis=1) + offset


def equal(steps):
    """The shares of equal steps."""
    return np.linspace(0, 1, steps + 1)


UNEVEN = (0, 0.02, 0.1, 0.45, 1)


def made(size=(6, 7), channels=2, count=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, *size, channels))
    return images, rng.normal(size=(*size, channels)), rng.random((count, *size))


def one_by_one(predict, before, after, one, shares):
    """Pixel by pixel from the highest value, asked at every share."""
    now = before.copy()
    places = sorted(np.ndindex(one.shape), key=lambda place: -one[place])
    scores, area, done = [predict(now[None])[0]], 0, 0
    for share in shares[1:]:
        changed = round(len(places) * share)
        for place in places[done:changed]:
            now[place] = after[place]
        scores.append(predict(now[None])[0])
        area += (changed - done) / len(places) * (scores[-1] + scores[-2]) / 2
        done = changed
    return area, scores


@pytest.mark.parametrize("size", [(6, 7), (3, 4, 5)])
@pytest.mark.parametrize("shares", [equal(1), equal(5), equal(11), UNEVEN], ids=len)
@pytest.mark.parametrize("fill", ["zeros", "mean"])
def test_deletion_is_a_plain_loop(size, shares, fill):
    images, weights, maps = made(size)
    predict = linear(weights)
    found = deletion(predict, images, maps, shares=shares, fill=fill)
    for i, image in enumerate(images):
        empty = np.zeros_like(image) + (image.mean(axis=tuple(range(len(size)))) if fill == "mean" else 0)
        area, scores = one_by_one(predict, image, empty, maps[i], shares)
        np.testing.assert_allclose(found.scores[i], scores, atol=1e-12)
        assert found.auc[i] == pytest.approx(area, abs=1e-12)
    assert found.share[0] == 0 and found.share[-1] == 1 and len(found.share) == len(shares)


@pytest.mark.parametrize("size", [(12, 14), (6, 8, 5)])
def test_insertion_is_a_plain_loop_from_scikit_images_blur(size):
    images, weights, maps = made(size)
    predict = linear(weights, 1.0)
    found = insertion(predict, images, maps, shares=UNEVEN, blur=0.1)
    for i, image in enumerate(images):
        sigma = [0.1 * side for side in size]
        blurred = gaussian(image, sigma, mode="reflect", channel_axis=-1)
        area, scores = one_by_one(predict, blurred, image, maps[i], UNEVEN)
        np.testing.assert_allclose(found.scores[i], scores, atol=1e-9)
        assert found.auc[i] == pytest.approx(area, abs=1e-9)


@pytest.mark.parametrize("steps", [5, 10, 100])
def test_a_linear_network_has_the_areas_of_its_triangles(steps):
    # All of the probability lies in 20 of 100 pixels, evenly.
    worth = np.zeros((10, 10, 1))
    worth[:2] = 1 / 20
    images = np.ones((4, 10, 10, 1))
    maps = np.stack([worth[..., 0], 1 - worth[..., 0], worth[..., 0], worth[..., 0]])
    gone = deletion(linear(worth), images, maps, shares=equal(steps))
    np.testing.assert_allclose(gone.auc, [0.1, 0.9, 0.1, 0.1], atol=1e-12)
    # Insertion into an image whose blur is 0 everywhere: the same triangles upside down.
    upright = images * np.where(np.indices((10, 10)).sum(axis=0) % 2, 1, -1)[None, ..., None]
    worth = worth * upright[0]
    found = insertion(linear(worth), upright, maps, shares=equal(steps), blur=5.0)
    np.testing.assert_allclose(found.auc, [0.9, 0.1, 0.9, 0.9], atol=1e-6)


def test_every_order_of_an_even_network_has_half():
    images, _, maps = made((8, 8), channels=1)
    images = np.ones_like(images)
    found = deletion(linear(np.full((8, 8, 1), 1 / 64)), images, maps, shares=equal(8))
    np.testing.assert_allclose(found.scores, np.tile(np.linspace(1, 0, 9), (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.auc, 0.5, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 18, 1000])
@pytest.mark.parametrize("measure", [deletion, insertion])
def test_large_batches_of_one_shape(batch, measure):
    images, weights, maps = made()
    shapes = []

    def predict(given):
        shapes.append(given.shape)
        return linear(weights)(given).tolist()

    found = measure(predict, images.astype(np.float32), maps, shares=equal(5), batch=batch)
    size = min(batch, 18)
    assert shapes == [(size, 6, 7, 2)] * -(-18 // size)
    for i in range(3):
        one = slice(i, i + 1)
        alone = measure(linear(weights), images[one].astype(np.float32), maps[one], shares=equal(5))
        np.testing.assert_allclose(found.auc[i], alone.auc[0], rtol=1e-6)


def test_equal_pixels_come_in_a_seeded_order_that_is_not_their_own():
    maps = np.array([[0, 1, 0, 1] * 50, [2, 2, 1, 0] * 50])
    rank = removal_rank(maps)
    for one, places in zip(maps, rank, strict=True):
        assert sorted(places) == list(range(200))
        ordered = one[np.argsort(places)]
        assert (np.diff(ordered) <= 0).all()
    np.testing.assert_array_equal(rank, removal_rank(maps))
    assert (rank != removal_rank(maps, seed=1)).any()
    among_equals = rank[0][maps[0] == 0]
    assert abs(np.corrcoef(among_equals, np.arange(100))[0, 1]) < 0.3  # neither from above nor from below
    np.testing.assert_array_equal(removal_rank(maps[1:]), rank[1:])


def test_a_constant_map_has_the_seeded_order_and_one_that_is_not_finite_nothing():
    images, weights, maps = made()
    maps[0] = 0.5
    maps[2, 0, 0] = np.nan
    np.testing.assert_array_equal(orders(maps), [0, 1, 0])
    shuffled = -removal_rank(np.zeros((1, 6, 7)), seed=4)
    for measure in (deletion, insertion):
        found = measure(linear(weights), images, maps, seed=4)
        np.testing.assert_array_equal(np.isnan(found.auc), [0, 0, 1])
        np.testing.assert_array_equal(np.isnan(found.scores).all(axis=1), [0, 0, 1])
        np.testing.assert_array_equal(found.scores[0], measure(linear(weights), images[:1], shuffled).scores[0])


def test_small_lesions_are_seen_at_the_first_shares():
    rng = np.random.default_rng(0)
    worth = np.zeros((40, 40, 1))
    worth[3:7, 20:24] = 1 / 16  # one in a hundred pixels
    found = deletion(linear(worth), np.ones((1, 40, 40, 1)), worth[None, ..., 0] + 1e-3 * rng.random((1, 40, 40)))
    np.testing.assert_allclose(found.scores[0, :4], [1, 0.5, 0, 0], atol=1e-12)
    assert found.auc[0] == pytest.approx(0.01 / 2)


def test_mistakes():
    images, weights, maps = made()
    predict = linear(weights)
    with pytest.raises(UserError, match="fill='black' is neither"):
        deletion(predict, images, maps, fill="black")
    for shares in ((), (1,), (0, 0.5), (0.1, 1), (0, 0.5, 0.5, 1), (0, np.nan, 1), ((0, 1), (0, 1))):
        with pytest.raises(UserError, match="do not rise from 0 to 1"):
            insertion(predict, images, maps, shares=shares)
    with pytest.raises(ValueError, match="bring maps to the image's size"):
        deletion(predict, images, maps[:, :3])
    with pytest.raises(ValueError, match=r"predict gave \(12, 1\) for 12 images"):
        deletion(lambda given: predict(given)[:, None], images, maps, shares=equal(3))
