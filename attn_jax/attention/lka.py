"""Large kernel attention of the Visual Attention Network, arXiv 2202.09741.

As in the authors' code there is no sigmoid. In volumes every window is a cube, which is our extension.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import Conv
from attn_jax.layers.initializers import kaiming_fan_in, kaiming_fan_out


class LKA(Mechanism):
    """Multiplies by what depthwise 5 x 5, depthwise 7 x 7 dilated by 3 and 1 x 1 make of it, in place of a 21 x 21.

    The product is of second degree in `x`: twice the input gives four times the output, from the start. Sows the
    factors, `"full"` [B, *space, C].

    Attributes:
        wrapped: the network's whole attention block: 1 x 1, GELU, this, 1 x 1, and the input added.
    """

    usual_placement: ClassVar[str] = "block"

    wrapped: bool = False
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def dense(y: Array, name: str) -> Array:
            return nn.Dense(x.shape[-1], kernel_init=kaiming_fan_out, name=name, **types)(y).astype(x.dtype)

        y = jax.nn.gelu(dense(x, "proj1"), approximate=False) if self.wrapped else x
        near, far = large_kernel(x.shape[-1], **types)
        y = y * self.look("full", dense(far(near(y)), "conv1"))
        return x + dense(y, "proj2") if self.wrapped else y


def large_kernel(channels: int, **types: Any) -> tuple[Conv, Conv]:
    """The two depthwise convolutions, for use in a compact method: 5 wide, then 7 wide over 19."""
    # One input channel each: fan-in is the fan-out that the authors count.
    settings: dict[str, Any] = {"groups": channels, "use_bias": True, "kernel_init": kaiming_fan_in, **types}
    return Conv(channels, 5, name="conv0", **settings), Conv(channels, 7, dilation=3, name="conv_spatial", **settings)
