"""Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, arXiv 1803.02579: sSE.

The layer is biased, as in the authors' code.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import channel_dot
from attn_jax.layers.initializers import torch_uniform


class SSE(Mechanism):
    """Scales each position by a gate computed from its channels alone.

    Sows the gates, `"spatial"` [B, *space]. At initialisation they lie around one half: it about halves its input.
    """

    usual_placement: ClassVar[str] = "block"

    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        logits = nn.Dense(1, kernel_init=torch_uniform, dot_general=channel_dot, name="fc", **types)(x)
        gate = self.look("spatial", jax.nn.sigmoid(logits)[..., 0])
        return x * gate[..., None].astype(x.dtype)
