"""eSE of CenterMask: Real-Time Anchor-Free Instance Segmentation, arXiv 1911.06667; as the authors' code."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import global_average, over_space
from attn_jax.layers.initializers import kaiming_fan_in


class ESE(Mechanism):
    """Scales each channel by a gate computed from the means of all channels, in one layer that loses no channel.

    The gate is a hard sigmoid, `relu6(z + 3) / 6`. Sows the gates, `"channel"` [B, C]. At initialisation they lie near
    one half: it about halves its input.
    """

    usual_placement: ClassVar[str] = "block"

    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        logits = nn.Dense(x.shape[-1], kernel_init=kaiming_fan_in, name="fc", **types)(global_average(x))
        gate = self.look("channel", jax.nn.hard_sigmoid(logits))
        return x * over_space(gate, x)
