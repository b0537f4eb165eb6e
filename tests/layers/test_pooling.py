"""Pooling against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.layers import global_average, global_max, max_pool, maximum

X = np.random.default_rng(0).standard_normal((2, 7, 6, 3)).astype(np.float32)


@pytest.mark.parametrize(("window", "strides", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pool(window, strides, padding):
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(X - 100, pad, constant_values=-np.inf)
    rows, columns = ((n + 2 * padding - window) // strides + 1 for n in X.shape[1:3])
    wanted = np.stack(
        [
            np.stack(
                [
                    padded[:, i * strides : i * strides + window, j * strides : j * strides + window].max((1, 2))
                    for j in range(columns)
                ],
                1,
            )
            for i in range(rows)
        ],
        1,
    )
    np.testing.assert_array_equal(
        max_pool(jnp.asarray(X - 100), window=window, strides=strides, padding=padding), wanted
    )


def test_max_pool_of_a_volume():
    volume = jnp.arange(64, dtype=jnp.float32).reshape(1, 4, 4, 4, 1)
    assert max_pool(volume, window=2, strides=2, padding=0).ravel().tolist() == [21, 23, 29, 31, 53, 55, 61, 63]


def test_global_pooling():
    np.testing.assert_allclose(global_average(jnp.asarray(X)), X.mean((1, 2)), atol=1e-6)
    np.testing.assert_array_equal(global_max(jnp.asarray(X)), X.max((1, 2)))


def test_a_mean_in_half_precision_is_summed_in_float32():
    ones = jnp.ones((1, 64, 64, 1), jnp.bfloat16)
    assert global_average(ones).dtype == jnp.bfloat16
    assert float(global_average(ones)[0, 0]) == 1.0


@pytest.mark.parametrize("axis", [1, -1])
def test_the_gradient_of_a_maximum_goes_to_the_first_largest(axis):
    x = np.array([[[3.0, 1.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    gradient = jax.jit(jax.grad(lambda x: maximum(x, axis).sum()))(x)
    wanted = np.zeros_like(x)
    np.put_along_axis(wanted, x.argmax(axis, keepdims=True), 1, axis)
    np.testing.assert_array_equal(gradient, wanted)
