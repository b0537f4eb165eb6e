"""Products with one vector: both formulations against NumPy, forward and in their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from attn_jax.layers import channel_dot, weighted_sum

RANDOM = np.random.default_rng(0)
X, KERNEL = RANDOM.standard_normal((3, 4, 5, 6)), RANDOM.standard_normal((6, 1))
WEIGHTS = RANDOM.random((3, 4, 5))


@pytest.fixture(params=["default", "tpu"])
def platform(request, monkeypatch):
    monkeypatch.setattr(lax, "platform_dependent", lambda *arrays, **ways: ways[request.param](*arrays))


def gradients(function, *arrays):
    """The value, and the gradients of its sum under random weights, with these weights."""

    def total(*arrays):
        y = function(*arrays)
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return (weights * y).sum(), (y, weights)

    found, (y, weights) = jax.grad(total, argnums=tuple(range(len(arrays))), has_aux=True)(*arrays)
    return y, weights, found


@pytest.mark.usefixtures("platform")
def test_over_channels():
    with jax.enable_x64(True):
        y, weights, (dx, dkernel) = gradients(channel_dot, jnp.asarray(X), jnp.asarray(KERNEL))
    np.testing.assert_allclose(y, X @ KERNEL, rtol=1e-12)
    np.testing.assert_allclose(dx, np.asarray(weights) * KERNEL[:, 0], rtol=1e-12)
    np.testing.assert_allclose(dkernel[:, 0], np.einsum("bhwc,bhw->c", X, np.asarray(weights)[..., 0]), rtol=1e-12)


@pytest.mark.usefixtures("platform")
def test_over_space():
    with jax.enable_x64(True):
        y, weights, (dx, dweights) = gradients(weighted_sum, jnp.asarray(X), jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(y, np.einsum("bhwc,bhw->bc", X, WEIGHTS), rtol=1e-12)
    np.testing.assert_allclose(dx, WEIGHTS[..., None] * np.asarray(weights)[:, None, None], rtol=1e-12)
    np.testing.assert_allclose(dweights, np.einsum("bhwc,bc->bhw", X, weights), rtol=1e-12)


@pytest.mark.usefixtures("platform")
def test_types():
    low = jnp.asarray(X, jnp.bfloat16)
    assert weighted_sum(low, jnp.asarray(WEIGHTS, jnp.float32)).dtype == jnp.float32
    layer = nn.Dense(1, dot_general=channel_dot, dtype=jnp.bfloat16)
    y, _ = layer.init_with_output(jax.random.key(0), low)
    assert y.dtype == jnp.bfloat16 and y.shape == (3, 4, 5, 1)
