"""Dual Attention Network for Scene Segmentation, arXiv 1809.02983: its two attention modules, summed.

The 3 x 3 convolutions that stand before and after each of them in the authors' head are left out.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.non_local import attend, token_weights
from attn_jax.layers import reduced
from attn_jax.layers.initializers import torch_uniform


class Dual(Mechanism):
    """Adds to each position what it finds at those like it, and to each channel what it finds in those unlike it.

    Each module has a residual connection, and the two are summed: at initialisation, where the factors of what they add
    are zero, this doubles its input. Sows `"token"` twice: the weights of channels over channels [B, 1, C, C], then
    those of positions over positions [B, 1, N, N], in row-major order.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (4,)

    reduction: int = 8
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        positions = x.reshape(x.shape[0], -1, x.shape[-1])

        def layer(features: int, name: str) -> Float[Array, "B N E"]:
            types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            return nn.Dense(features, kernel_init=torch_uniform, name=name, **types)(positions)

        def scaled(y: Float[Array, "B N C"], name: str) -> Float[Array, "B *space C"]:
            gamma = self.param(name, nn.initializers.zeros, (), self.param_dtype)
            return (gamma * y).reshape(x.shape).astype(x.dtype)

        channels = positions.swapaxes(1, 2)
        # The authors subtract the logits from their maximum, which softmax does not feel.
        by_channel = attend(self.look("token", token_weights(channels, channels, scale=-1.0)), channels)
        hidden = reduced(x.shape[-1], self.reduction)
        weights = token_weights(layer(hidden, "query"), layer(hidden, "key"))
        weights = self.look("token", weights, 2 * x.shape[1:-1])
        by_position = attend(weights, layer(x.shape[-1], "value"))
        return 2 * x + scaled(by_position, "position_gamma") + scaled(by_channel.swapaxes(1, 2), "channel_gamma")
