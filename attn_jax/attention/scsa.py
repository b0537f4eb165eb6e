"""SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention, arXiv 2407.05128.

The authors' code wants channels that 4 and the heads divide, and maps no smaller than the window; here the largest
divisors take the place of 4 and of `heads`, and an axis shorter than the window is averaged whole. Strips and windows
generalise to any number of axes; beyond two that is our extension.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.coordinate import across, strip
from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import Conv, GroupNorm, avg_pool, global_average, largest_divisor, over_space
from attn_jax.layers.initializers import torch_bias, torch_uniform

KERNELS: tuple[int, ...] = (3, 5, 7, 9)
"""Of the convolutions along the strips, one for each part of the channels."""


class SCSA(Mechanism):
    """Scales positions by one gate per axis, then channels by a gate from self-attention among them.

    Axes share the convolutions along their strips, and have a normalisation each. Channels of one head attend to each
    other, each described by its means over the windows. Sows the product of the axes' gates, `"full"` [B, *space, C],
    the attention, whose tokens are the channels of a head, `"token"` [B, heads, C / heads, C / heads], and the
    channels' gates, `"channel"` [B, C]. At initialisation every gate lies near one half: an eighth is left in 2-D.

    Raises:
        UserError: `heads` or `window` is less than 1.
    """

    usual_placement: ClassVar[str] = "block"

    heads: int = 8
    window: int = 7
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field in ("heads", "window"):
            if getattr(self, field) < 1:
                raise UserError(f"attention 'scsa': {field}={getattr(self, field)!r} is not at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        parts = largest_divisor(channels, len(KERNELS))
        width = channels // parts
        start: dict[str, Any] = {"groups": width, "use_bias": True, "kernel_init": torch_uniform}
        convs = [Conv(width, size, name=f"conv{size}", **start, **types) for size in KERNELS[:parts]]
        gates = []
        for axis in range(1, x.ndim - 1):
            pieces = zip(convs, jnp.split(strip(x, axis), parts, axis=-1), strict=True)
            y = jnp.concatenate([conv(piece) for conv, piece in pieces], axis=-1)
            gates.append(jax.nn.sigmoid(GroupNorm(parts, name=f"norm{axis}", **types)(y)))
        x = x * self.look("full", across(gates)).astype(x.dtype)

        size = tuple(min(self.window, n) for n in x.shape[1:-1])
        y = GroupNorm(1, name="norm", **types)(avg_pool(x, window=size, strides=size))
        heads = largest_divisor(channels, self.heads)
        # Depthwise 1 x 1 convolutions are factors.
        query, key, value = (
            split_heads(y * self.param(name, torch_bias(1), (channels,), self.param_dtype).astype(y.dtype), heads)
            for name in ("query", "key", "value")
        )
        attended = attend(self.look("token", channel_attention(query, key)), value)
        channel = self.look("channel", jax.nn.sigmoid(global_average(attended.reshape(y.shape))))
        return x * over_space(channel, x)


def split_heads(y: Float[Array, "B *space C"], heads: int) -> Float[Array, "B *space K E"]:
    """Consecutive channels of one head."""
    return y.reshape(*y.shape[:-1], heads, -1)


def channel_attention(
    query: Float[Array, "B *space K E"], key: Float[Array, "B *space K E"]
) -> Float[Array, "B K E E"]:
    """How much each channel of a head attends to each, by their products over space, in at least float32."""
    space = "xyz"[: query.ndim - 3]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum(f"b{space}ke,b{space}kf->bkef", query, key, preferred_element_type=wide)
    return jax.nn.softmax(logits * query.shape[-1] ** -0.5)


def attend(weights: Float[Array, "B K E E"], value: Float[Array, "B *space K E"]) -> Float[Array, "B *space K E"]:
    """At every position, channels of `value` as the mixtures that `weights` has them in."""
    return jnp.einsum("bkef,b...kf->b...ke", weights, value, preferred_element_type=weights.dtype)
