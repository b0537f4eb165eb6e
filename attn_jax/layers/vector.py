"""Products of a map with one vector, over its channels or over its positions.

The TPU compiler (libtpu 0.0.42) reads and writes the map several times to bring it before the matrix unit: with a GC
block a training step moves as much as 12 readings of its input more than without, and 4 where these are sums.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def channel_dot(
    x: Float[Array, "*any C"], kernel: Float[Array, "C 1"], *arguments: Any, **_: Any
) -> Float[Array, "*any 1"]:
    """The product over channels; for `dot_general` of `nn.Dense(1)`, whose other arguments say nothing else."""

    def by_sum(x: Array, kernel: Array) -> Array:
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return (x.astype(wide) * kernel[:, 0].astype(wide)).sum(-1, keepdims=True).astype(x.dtype)

    return lax.platform_dependent(x, kernel, tpu=by_sum, default=jnp.dot)


def weighted_sum(x: Float[Array, "B *space C"], weights: Float[Array, "B *space"]) -> Float[Array, "B C"]:
    """The sum over space of each image's positions times their weights, in the type of these."""

    def by_sum(x: Array, weights: Array) -> Array:
        return (x.astype(weights.dtype) * weights[..., None]).sum(range(1, x.ndim - 1))

    def by_product(x: Array, weights: Array) -> Array:
        x, weights = (array.reshape(len(array), -1, *array.shape[x.ndim - 1 :]) for array in (x, weights))
        return jnp.einsum("bnc,bn->bc", x, weights, preferred_element_type=weights.dtype)

    return lax.platform_dependent(x, weights, tpu=by_sum, default=by_product)
