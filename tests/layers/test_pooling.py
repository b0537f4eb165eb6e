"""Pooling against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.layers import avg_pool, global_average, global_max, max_pool, maximum

X = np.random.default_rng(0).standard_normal((2, 7, 6, 3)).astype(np.float32)


@pytest.mark.parametrize(("window", "strides", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pool(window, strides, padding, monkeypatch):
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
    for devices in (1, 8):  # other formulations
        monkeypatch.setattr(jax, "device_count", lambda devices=devices: devices)
        y = max_pool(jnp.asarray(X - 100), window=window, strides=strides, padding=padding)
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(("window", "strides", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pools_gradient_goes_to_the_first_of_equal_values(window, strides, padding, monkeypatch):
    x = np.round(X * 2)  # many ties
    padded = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), constant_values=-np.inf)
    pulled = np.zeros_like(padded)
    rows, columns = ((n + 2 * padding - window) // strides + 1 for n in x.shape[1:3])
    dy = np.random.default_rng(1).standard_normal((2, rows, columns, 3)).astype(np.float32)
    for b, i, j, c in np.ndindex(dy.shape):
        part = padded[b, i * strides : i * strides + window, j * strides : j * strides + window, c]
        down, across = np.unravel_index(part.argmax(), part.shape)
        pulled[b, i * strides + down, j * strides + across, c] += dy[b, i, j, c]
    wanted = pulled[:, padding : padding + x.shape[1], padding : padding + x.shape[2]]
    for devices in (1, 8):  # other formulations
        monkeypatch.setattr(jax, "device_count", lambda devices=devices: devices)
        _, pull = jax.vjp(lambda x: max_pool(x, window=window, strides=strides, padding=padding), jnp.asarray(x))
        np.testing.assert_allclose(pull(jnp.asarray(dy))[0], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count_padding", [False, True])
def test_avg_pool(count_padding):
    window, strides, padding = (3, 2), (2, 1), (1, 0)
    pads = ((0, 0), (1, 1), (0, 0), (0, 0))
    padded, inside = np.pad(X, pads), np.pad(np.ones_like(X), pads)
    y = np.asarray(
        avg_pool(jnp.asarray(X), window=window, strides=strides, padding=padding, count_padding=count_padding)
    )
    assert y.shape == (2, 4, 5, 3)
    for i, j in np.ndindex(4, 5):
        rows, columns = slice(2 * i, 2 * i + 3), slice(j, j + 2)
        count = 6 if count_padding else inside[0, rows, columns, 0].sum()
        np.testing.assert_allclose(y[:, i, j], padded[:, rows, columns].sum((1, 2)) / count, rtol=1e-5, atol=1e-6)


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
