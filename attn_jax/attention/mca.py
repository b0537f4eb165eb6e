"""MCA: Multidimensional collaborative attention in deep convolutional neural networks for image recognition.

Engineering Applications of Artificial Intelligence 126 (2023), doi 10.1016/j.engappai.2023.107079. The standard
deviation of one number is 0 here (the authors' code gives NaN). The gates generalise to any number of axes; beyond two
that is our extension.
"""

import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import Conv, over_space, sample_deviation


class MCA(Mechanism):
    """Scales by the mean of gates on every axis: space's and the channels'.

    The gate of an axis comes from the mean and the standard deviation over all other axes, mixed by learned weights and
    convolved along the axis: 3 wide in space, growing with the logarithm of their number over channels. Sows the gate
    of the channels, `"channel"` [B, C], and the mean of those of space, `"spatial"` [B, *space]. At initialisation they
    lie near one half: it about halves its input.
    """

    usual_placement: ClassVar[str] = "block"

    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def gate(axis: int, kernel_size: int, name: str) -> Float[Array, "B _"]:
            mix = self.param(f"{name}_mix", nn.initializers.uniform(1.0), (2,), self.param_dtype)
            pooled = pool(x, axis, mix)[..., None]
            return jax.nn.sigmoid(Conv(1, kernel_size, name=f"{name}_conv", **types)(pooled)[..., 0])

        axes = range(1, x.ndim - 1)
        channel = self.look("channel", gate(-1, kernel_size(x.shape[-1]), "channel"))
        lines = [
            jnp.expand_dims(gate(axis, 3, f"axis{axis}"), [other for other in axes if other != axis]) for axis in axes
        ]
        spatial = self.look("spatial", functools.reduce(jnp.add, lines) / len(lines))
        return x * (over_space(channel, x) + len(lines) * spatial[..., None].astype(x.dtype)) / (len(lines) + 1)


def kernel_size(channels: int) -> int:
    """Of the convolution along the channels: 3 for 64, 5 for 256, 7 for 2048."""
    nearest = round(abs(math.log2(channels) - 1) / 1.5)
    return max(1, nearest if nearest % 2 else nearest - 1)


def pool(x: Float[Array, "*shape"], axis: int, mix: Float[Array, " 2"]) -> Float[Array, "B _"]:
    """Mean and standard deviation over all but `axis` and the batch, weighted by one half plus sigmoids of `mix`."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    others = tuple(other for other in range(1, x.ndim) if other != axis % x.ndim)
    mean = wide.mean(others, keepdims=True)
    weights = 0.5 + jax.nn.sigmoid(mix.astype(wide.dtype))
    return (weights[0] * mean + weights[1] * sample_deviation(wide, others)).squeeze(others).astype(x.dtype)
