"""Large Selective Kernel Network for Remote Sensing Object Detection, arXiv 2303.09030.

As the authors' block. In volumes every window is a cube, which is our extension.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.lka import large_kernel
from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import Conv, max_and_mean, reduced
from attn_jax.layers.initializers import kaiming_fan_out


class LSK(Mechanism):
    """Multiplies by a mixture of a small and a large depthwise convolution, mixed anew at every position.

    Sows how much of each goes in, `"spatial"` [B, *space] twice: of the small kernel, then of the large (sigmoids that
    need not sum to 1), and the factors, `"full"` [B, *space, C]. They are no gates: from the start `x` is multiplied by
    a mixture of its surroundings.
    """

    usual_placement: ClassVar[str] = "block"

    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def dense(y: Array, features: int, name: str) -> Array:
            return nn.Dense(features, kernel_init=kaiming_fan_out, name=name, **types)(y).astype(x.dtype)

        near, far = large_kernel(channels, **types)
        small = near(x)
        large = dense(far(small), reduced(channels, 2), "conv2")
        small = dense(small, reduced(channels, 2), "conv1")

        pooled = max_and_mean(jnp.concatenate([small, large], axis=-1), -1)[..., ::-1]
        squeeze = Conv(2, 7, use_bias=True, kernel_init=kaiming_fan_out, name="conv_squeeze", **types)
        shares = jax.nn.sigmoid(squeeze(pooled)).astype(x.dtype)
        small = small * self.look("spatial", shares[..., 0])[..., None]
        large = large * self.look("spatial", shares[..., 1])[..., None]
        return x * self.look("full", dense(small + large, channels, "conv"))
