"""Pooling with PyTorch's semantics, channels last, any number of spatial axes."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float


def max_pool(x: Float[Array, "B *space C"], *, window: int, strides: int, padding: int) -> Float[Array, "B *out C"]:
    """The largest value of each window; padding counts as minus infinity."""
    spatial = x.ndim - 2
    return nn.max_pool(x, (window,) * spatial, (strides,) * spatial, ((padding, padding),) * spatial)


def global_average(x: Float[Array, "B *space C"]) -> Float[Array, "B C"]:
    """The mean over space, summed in at least float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return x.mean(tuple(range(1, x.ndim - 1)), dtype=wide).astype(x.dtype)


def global_max(x: Float[Array, "B *space C"]) -> Float[Array, "B C"]:
    """The largest value over space."""
    return maximum(x.reshape(x.shape[0], -1, x.shape[-1]), 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*reduced"]:
    """The largest value along `axis`; the gradient goes to the first of those that are equal, as in PyTorch.

    `jnp.max` shares it among the values equal to the maximum. XLA may compute `x` once for the maximum and again,
    rounded otherwise, for the comparison: then none is equal and the share is 0 / 0 (seen on several CPU devices, jax
    0.10.2).
    """
    return x.max(axis)


def _maximum_forward(x: Array, axis: int) -> tuple[Array, Array]:
    return x.max(axis), _first_largest(x, axis)


def _maximum_backward(axis: int, largest: Array, gradient: Array) -> tuple[Array]:
    return (jnp.where(largest, jnp.expand_dims(gradient, axis), 0),)


def _first_largest(x: Array, axis: int) -> Array:
    """True at one place along `axis`."""
    places = lax.broadcasted_iota(jnp.int32, x.shape, axis % x.ndim)
    return places == jnp.expand_dims(x.argmax(axis).astype(jnp.int32), axis)


maximum.defvjp(_maximum_forward, _maximum_backward)
