"""Rotate to Attend: Convolutional Triplet Attention Module, arXiv 2010.03045.

The paper's three branches are for images; one branch for each axis, channels included, is our extension to volumes.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm, Conv, max_and_mean


class Triplet(Mechanism):
    """Scales each number by the mean of gates, one for each axis but the batch's.

    The gate of an axis does not vary along it: it is the sigmoid of a normalised convolution over all other axes, the
    channels being one like any other, of the maximum and the mean along it. An image has three gates, over (H, W),
    (H, C) and (W, C); a volume, which the paper does not treat, has four, each from a convolution over three axes.

    Sows the mean of the gates, `"full"` [B, *space, C]. At initialisation it lies around one half: it about halves its
    input. Since a convolution runs along the channels, their order matters.

    Raises:
        UserError: `kernel_size` is not odd.
    """

    usual_placement: ClassVar[str] = "block"

    kernel_size: int = 7
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        gates = []
        for axis in range(1, x.ndim):
            pooled = "channels" if axis == x.ndim - 1 else f"axis{axis}"
            logits = Conv(1, self.kernel_size, name=f"{pooled}_conv", **types)(max_and_mean(x, axis))
            norm = BatchNorm(momentum=0.99, axis_name=self.axis_name, name=f"{pooled}_norm", **types)
            gates.append(jnp.expand_dims(jax.nn.sigmoid(norm(logits, train=train))[..., 0], axis))
        mean = sum(gates[1:], gates[0]) / len(gates)
        return x * self.look("full", mean.astype(x.dtype))
