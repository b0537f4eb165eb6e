"""Random layers: what share survives, at what size, and the same draws on one device and on several."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.layers import Dropout, DropPath

KINDS = [Dropout, DropPath]
X = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (64, 4, 3, 16)), jnp.float32)


def dropped(kind, x=X, rate=0.25, key=0, **fields):
    return kind(rate, **fields).apply({}, x, train=True, rngs={"dropout": jax.random.key(key)})


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_is_divided_by_its_share(kind):
    y = np.asarray(dropped(kind))
    stays = y != 0
    np.testing.assert_allclose(y[stays], np.asarray(X)[stays] / 0.75, rtol=1e-6)
    per_image = stays.reshape(64, -1).mean(1)
    if kind is DropPath:
        assert set(per_image) == {0.0, 1.0} and 0.5 < per_image.mean() < 0.95
    else:
        assert per_image.mean() == pytest.approx(0.75, abs=0.02) and per_image.max() < 1
    assert (y != np.asarray(dropped(kind, key=1))).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_in_evaluation_at_rate_zero_and_at_initialisation(kind):
    np.testing.assert_array_equal(kind(0.25).apply({}, X, train=False), X)
    np.testing.assert_array_equal(kind(0.0).apply({}, X, train=True), X)
    module = kind(0.25, axis_name="devices")
    np.testing.assert_array_equal(module.init_with_output(jax.random.key(0), X, train=True)[0], X)


@pytest.mark.parametrize("kind", KINDS)
def test_training_without_a_key_is_linens_error(kind):
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        kind(0.25).apply({}, X, train=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_axis_gets_the_rows_of_the_whole_batch(kind):
    mapped = jax.pmap(functools.partial(dropped, kind, axis_name="devices"), "devices")
    np.testing.assert_array_equal(mapped(X.reshape(8, 8, *X.shape[1:])).reshape(X.shape), dropped(kind))
    alone = jax.pmap(functools.partial(dropped, kind))(X.reshape(8, 8, *X.shape[1:])).reshape(X.shape)
    assert (np.asarray(alone) != np.asarray(dropped(kind))).any()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_half(kind):
    assert dropped(kind, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
