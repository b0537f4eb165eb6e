"""Context anchor attention of the Poly Kernel Inception Network for Remote Sensing Detection, arXiv 2403.06258.

The authors' class has batch normalisation and SiLU after its 1 x 1 convolutions; their network switches both off, which
is `plain=True`. Their block multiplies another branch by this gate; here it scales its own input. Strips generalise to
any number of axes, the last axis first; beyond two that is our extension.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm, Conv, avg_pool
from attn_jax.layers.initializers import torch_uniform


class CAA(Mechanism):
    """Scales every number by a gate that sees its surroundings through one long depthwise strip per axis.

    Sows the gates, `"full"` [B, *space, C]. At initialisation they lie near one half, with SiLU not below 0.43: it
    about halves its input.

    Attributes:
        kernel_size: length of the strips.
        plain: leaves out normalisation and SiLU.

    Raises:
        UserError: an even `kernel_size`.
    """

    usual_placement: ClassVar[str] = "block"

    kernel_size: int = 11
    plain: bool = False
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channels, axes = x.shape[-1], range(1, x.ndim - 1)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        start: dict[str, Any] = {"kernel_init": torch_uniform, **types}

        def pointwise(y: Array, suffix: str) -> Array:
            y = nn.Dense(channels, use_bias=self.plain, name=f"conv{suffix}", **start)(y)
            if self.plain:
                return y
            norm = BatchNorm(0.97, 1e-3, axis_name=self.axis_name, name=f"norm{suffix}", **types)
            return jax.nn.silu(norm(y, train=train))

        y = pointwise(avg_pool(x, window=7, strides=1, padding=3, count_padding=True), "1")
        for axis in reversed(axes):
            window = tuple(self.kernel_size if other == axis else 1 for other in axes)
            y = Conv(channels, window, groups=channels, use_bias=True, name=f"strip{axis}", **start)(y)
        gate = self.look("full", jax.nn.sigmoid(pointwise(y, "2")))
        return x * gate.astype(x.dtype)
