"""Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks, arXiv 1905.09646.

As the authors' code, which divides the variance by one less than the number of positions; maps of one position, for
which that is 0 / 0, have no variance here.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import largest_divisor, sample_deviation


class SGE(Mechanism):
    """Scales the channels of each group, position by position, by how much they are like the group's mean over space.

    There are `groups` groups (or the largest number below that divides the channels). Sows the gates, `"full"`
    [B, *space, C], alike within a group. At initialisation every gate is sigmoid(1) = 0.73.
    """

    usual_placement: ClassVar[str] = "block"

    groups: int = 64
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        groups = largest_divisor(x.shape[-1], self.groups)
        scale = self.param("scale", nn.initializers.zeros, (groups,), self.param_dtype)
        bias = self.param("bias", nn.initializers.ones, (groups,), self.param_dtype)
        gate = jax.nn.sigmoid(standardised(likeness(x, groups)) * scale + bias)
        gate = self.look("full", jnp.repeat(gate, x.shape[-1] // groups, axis=-1))
        return x * gate.astype(x.dtype)


def likeness(x: Float[Array, "B *space C"], groups: int) -> Float[Array, "B *space G"]:
    """Every position's dot product, group by group, with the mean over space; in at least float32."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    products = wide * wide.mean(tuple(range(1, x.ndim - 1)), keepdims=True)
    return products.reshape(*x.shape[:-1], groups, -1).sum(-1)


def standardised(x: Float[Array, "B *space G"]) -> Float[Array, "B *space G"]:
    """Each map less its mean, divided by 1e-5 more than its standard deviation."""
    axes = tuple(range(1, x.ndim - 1))
    return (x - x.mean(axes, keepdims=True)) / (sample_deviation(x, axes) + 1e-5)
