"""Attention pooling: both formulations against NumPy, forward and in their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from attn_jax.layers import attention_logits, attention_pooling

RANDOM = np.random.default_rng(0)
X, QUERY, VALUE = (RANDOM.standard_normal(shape) for shape in ((3, 4, 5, 6), (6, 1), (6, 2)))
WEIGHTS, TO_LOGITS, TO_POOLED = (RANDOM.standard_normal(shape) for shape in ((3, 4, 5), (3, 4, 5), (3, 2)))


@pytest.fixture(params=["default", "tpu"])
def platform(request, monkeypatch):
    monkeypatch.setattr(lax, "platform_dependent", lambda *arrays, **ways: ways[request.param](*arrays))


@pytest.mark.usefixtures("platform")
def test_logits():
    with jax.enable_x64(True):
        y, pull = jax.vjp(attention_logits, *map(jnp.asarray, (X, QUERY, VALUE)))
        dx, dquery, dvalue = pull(jnp.asarray(TO_LOGITS))
    np.testing.assert_allclose(y, np.einsum("bhwc,c->bhw", X, QUERY[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(dx, TO_LOGITS[..., None] * QUERY[:, 0], rtol=1e-12)
    np.testing.assert_allclose(dquery[:, 0], np.einsum("bhwc,bhw->c", X, TO_LOGITS), rtol=1e-12)
    assert not np.any(dvalue)


@pytest.mark.usefixtures("platform")
def test_pooling():
    with jax.enable_x64(True):
        arrays = tuple(map(jnp.asarray, (X, WEIGHTS, QUERY, VALUE)))
        y, pull = jax.vjp(attention_pooling, *arrays)
        dx, dweights, dquery, dvalue = pull(jnp.asarray(TO_POOLED))
        plain = attention_pooling(*arrays)
    for found in (y, plain):
        np.testing.assert_allclose(found, np.einsum("bhwc,bhw,cf->bf", X, WEIGHTS, VALUE), rtol=1e-12)
    np.testing.assert_allclose(dx, np.einsum("bf,cf,bhw->bhwc", TO_POOLED, VALUE, WEIGHTS), rtol=1e-12)
    np.testing.assert_allclose(dweights, np.einsum("bhwc,cf,bf->bhw", X, VALUE, TO_POOLED), rtol=1e-11)
    np.testing.assert_allclose(dvalue, np.einsum("bhwc,bhw,bf->cf", X, WEIGHTS, TO_POOLED), rtol=1e-11)
    assert not np.any(dquery)


@pytest.mark.usefixtures("platform")
def test_bfloat16_is_summed_in_float32():
    ones = jnp.ones((1, 300, 1), jnp.bfloat16)
    value = jnp.ones((1, 1), jnp.bfloat16)
    pooled = attention_pooling(ones, jnp.ones((1, 300), jnp.float32), value, value)
    assert pooled.dtype == jnp.bfloat16 and pooled == 300
    assert attention_logits(ones, value, value).dtype == jnp.bfloat16
