"""Gates on channels: the two-layer perceptron that many mechanisms compute them with, and the product itself."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.errors import UserError
from attn_jax.layers.initializers import torch_uniform


def reduced(channels: int, reduction: int) -> int:
    """`channels // reduction`, at least 1.

    Raises:
        UserError: `reduction` is less than 1.
    """
    if reduction < 1:
        raise UserError(f"reduction={reduction!r}: what the channels are divided by is at least 1")
    return max(1, channels // reduction)


def largest_divisor(channels: int, at_most: int) -> int:
    """The largest divisor of `channels` that is not above `at_most`: how many groups they can be cut into.

    Raises:
        UserError: `at_most` is less than 1.
    """
    if at_most < 1:
        raise UserError(f"groups={at_most!r}: channels are cut into at least 1 group")
    return next(count for count in range(min(channels, at_most), 0, -1) if channels % count == 0)


class GateMLP(nn.Module):
    """Channels to `channels // reduction`, ReLU, and back; `use_bias` is both layers'."""

    reduction: int
    use_bias: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pooled: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
        channels = pooled.shape[-1]
        settings: dict[str, Any] = {
            "use_bias": self.use_bias,
            "kernel_init": torch_uniform,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        hidden = nn.relu(nn.Dense(reduced(channels, self.reduction), name="fc1", **settings)(pooled))
        return nn.Dense(channels, name="fc2", **settings)(hidden)


def over_space(vector: Float[Array, "B C"], like: Float[Array, "B *space C"]) -> Float[Array, "B *ones C"]:
    """One value per channel, shaped and typed to meet every position of `like`."""
    return jnp.expand_dims(vector.astype(like.dtype), tuple(range(1, like.ndim - 1)))
