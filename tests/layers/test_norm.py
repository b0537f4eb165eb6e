"""Batch normalisation against its formula in NumPy, and over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.layers import BatchNorm, GroupNorm

RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.standard_normal((8, 3, 4, 5)) * 2 + 30, jnp.float32)
VARIABLES = {
    "params": {"scale": np.linspace(0.5, 2, 5, dtype=np.float32), "bias": np.linspace(-1, 1, 5, dtype=np.float32)},
    "batch_stats": {"mean": np.full(5, 29, np.float32), "var": np.full(5, 3, np.float32)},
}


def formula(x, mean, var):
    x = np.float64(x)
    return (x - mean) / np.sqrt(var + 1e-5) * VARIABLES["params"]["scale"] + VARIABLES["params"]["bias"]


def train(module, x):
    return module.apply(VARIABLES, x, train=True, mutable=["batch_stats"])


def test_training_uses_and_remembers_the_batch():
    y, state = train(BatchNorm(), X)
    mean, var = np.float64(X).mean((0, 1, 2)), np.float64(X).var((0, 1, 2))
    np.testing.assert_allclose(y, formula(X, mean, var), atol=2e-4)
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.9 * 29 + 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 * 3 + 0.1 * var, rtol=1e-4)


def test_evaluation_uses_what_was_remembered_and_changes_nothing():
    np.testing.assert_allclose(BatchNorm().apply(VARIABLES, X, train=False), formula(X, 29, 3), atol=1e-5)


def test_under_a_mapped_axis_statistics_are_global():
    whole, state = train(BatchNorm(), X)
    part = BatchNorm(axis_name="devices")
    mapped = jax.vmap(lambda x: train(part, x), axis_name="devices")
    y, states = jax.jit(mapped)(X.reshape(4, 2, 3, 4, 5))
    np.testing.assert_allclose(y.reshape(X.shape), whole, atol=1e-4)
    for name in ("mean", "var"):
        np.testing.assert_allclose(states["batch_stats"][name][2], state["batch_stats"][name], rtol=1e-5)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_half_precision_keeps_statistics_in_float32(dtype):
    module = BatchNorm(dtype=dtype)
    y, state = train(module, X.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}
    rounded = np.asarray(X.astype(jnp.bfloat16), np.float64)
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.9 * 29 + 0.1 * rounded.mean((0, 1, 2)), rtol=1e-5)


def test_one_value_a_channel_has_finite_gradients():
    gradient = jax.jit(jax.grad(lambda x: train(BatchNorm(), x)[0].sum()))
    assert np.isfinite(gradient(jnp.zeros((1, 1, 1, 5)))).all()


def test_group_norm_of_each_image_and_group():
    x = np.random.default_rng(3).standard_normal((2, 4, 3, 6)).astype(np.float32) * 3 + 1
    module = GroupNorm(2)
    scale, bias = np.arange(1.0, 7.0, dtype=np.float32), np.arange(6.0, dtype=np.float32)
    y = module.apply({"params": {"scale": scale, "bias": bias}}, x)
    for image in range(2):
        for group in range(2):
            part, at = x[image, ..., group * 3 : group * 3 + 3], slice(group * 3, group * 3 + 3)
            wanted = (part - part.mean()) / np.sqrt(part.var() + 1e-5) * scale[at] + bias[at]
            np.testing.assert_allclose(y[image, ..., at], wanted, rtol=1e-4, atol=1e-5)
