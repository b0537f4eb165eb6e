"""Resizing against the formulas of PyTorch's modes, in plain NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.layers import resize_linear, resize_nearest

X = np.random.default_rng(0).standard_normal((2, 4, 3, 5)).astype(np.float32)
SIZES = [(4, 3), (8, 9), (8, 6), (7, 5), (2, 3), (1, 1), (3, 12)]


def along(x, axis, wanted, value):
    length = x.shape[axis]
    return np.stack([value(np.moveaxis(x, axis, 0), i, length, wanted) for i in range(wanted)], axis)


def linear(x, i, length, wanted):
    place = min(max((i + 0.5) * length / wanted - 0.5, 0), length - 1)
    low = int(place)
    return x[low] * (low + 1 - place) + x[min(low + 1, length - 1)] * (place - low)


def nearest(x, i, length, wanted):
    return x[i * length // wanted]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("resize", "value"), [(resize_linear, linear), (resize_nearest, nearest)])
def test_resize(resize, value, size):
    for x in (X, X[:, :1, :1]):
        wanted = along(along(x, 1, size[0], value), 2, size[1], value)
        np.testing.assert_allclose(resize(jnp.asarray(x), size), wanted, rtol=1e-5, atol=1e-6)
