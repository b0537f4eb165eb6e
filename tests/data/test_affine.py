import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from attn_jax.data.affine import about_centre, resample, rotation


def random_map(rng, n, space):
    linear = np.eye(n) + rng.uniform(-0.4, 0.4, (n, n))
    return linear, rng.uniform(-0.3, 0.3, n) * space


@pytest.mark.parametrize("space", [(9, 13), (16, 16), (6, 7, 8), (1, 5)])
def test_resample_equals_scipy(space):
    rng = np.random.default_rng(0)
    image = rng.random((*space, 3)).astype(np.float32)
    for _ in range(3):
        matrix, offset = random_map(rng, len(space), space)
        got = jax.jit(resample)(image, jnp.float32(matrix), jnp.float32(offset))
        expected = [
            ndimage.affine_transform(image[..., c].astype(float), matrix, offset, order=1, mode="reflect")
            for c in range(3)
        ]
        np.testing.assert_allclose(got, np.stack(expected, -1), atol=2e-5)


def test_quarter_turns_equal_rot90():
    image = np.random.default_rng(1).random((12, 12, 2)).astype(np.float32)
    for turns in range(4):
        matrix, offset = about_centre((12, 12), rotation(jnp.float32(turns * np.pi / 2)), jnp.zeros(2))
        np.testing.assert_allclose(resample(image, matrix, offset), np.rot90(image, turns), atol=1e-5)


def test_a_volume_turns_about_its_axis_only():
    volume = np.random.default_rng(2).random((8, 8, 8, 1)).astype(np.float32)
    turn = rotation(jnp.float32(np.pi / 2), jnp.array([1.0, 0.0, 0.0]))
    got = np.asarray(resample(volume, *about_centre((8, 8, 8), turn, jnp.zeros(3))))
    turned = [np.rot90(volume, k, (1, 2)) for k in (1, -1)]
    assert min(abs(got - one).max() for one in turned) < 1e-5
    oblique = np.asarray(rotation(jnp.float32(0.7), jnp.array([1.0, 2.0, 2.0]) / 3))
    np.testing.assert_allclose(oblique @ oblique.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(oblique @ [1, 2, 2], [1, 2, 2], atol=1e-5)


def test_shift_is_in_source_pixels_and_keeps_bits_of_identity():
    image = np.random.default_rng(3).random((7, 10, 1)).astype(np.float32)
    still = resample(image, *about_centre((7, 10), jnp.eye(2), jnp.zeros(2)))
    np.testing.assert_array_equal(still, image)
    moved = resample(image, *about_centre((7, 10), jnp.eye(2), jnp.array([0.0, 2.0])))
    np.testing.assert_array_equal(moved[:, :8], image[:, 2:])
    np.testing.assert_array_equal(moved[:, 8:], image[:, :-3:-1])
