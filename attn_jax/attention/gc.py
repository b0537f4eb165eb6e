"""GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, arXiv 1904.11492."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import attention_logits, attention_pooling, over_space, reduced
from attn_jax.layers.initializers import kaiming_fan_in, torch_uniform

LEAST_HIDDEN = 3
"""The normalisation makes 0 of one unit and -1 and 1 of two, whatever the image."""


class GC(Mechanism):
    """Pools space with one learned softmax map, transforms the pooled vector and adds it to every position.

    The transform's hidden layer has `channels // reduction` units, at least 3: fewer say nothing once normalised. The
    paper adds; its code can do both.

    `fusion="mul"` multiplies by the vector's sigmoid instead (the authors' `channel_mul`). Sows the softmax map,
    `"spatial"` [B, *space]. The last layer starts at zero: at initialisation `"add"` is the identity, `"mul"` halves.

    Raises:
        UserError: `fusion` is neither `"add"` nor `"mul"`.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    fusion: str = "add"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.fusion not in ("add", "mul"):
            raise UserError(f"attention 'gc': fusion={self.fusion!r} is neither 'add' nor 'mul'")
        super().__post_init__()

    @property
    def starts_as_identity(self) -> bool:
        """Whether it leaves its input as it is at initialisation."""
        return self.fusion == "add"

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        channels = x.shape[-1]
        hidden = max(LEAST_HIDDEN, reduced(channels, self.reduction))
        query, query_bias = _Affine(1, kaiming_fan_in, x.dtype, self.param_dtype, name="mask")(channels)
        value, value_bias = _Affine(hidden, torch_uniform, x.dtype, self.param_dtype, name="fc1")(channels)
        weights = self.look("spatial", spatial_softmax(attention_logits(x, query, value) + query_bias))

        y = attention_pooling(x, weights, query, value) + value_bias
        y = nn.relu(nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="norm", **types)(y))
        y = over_space(nn.Dense(channels, kernel_init=nn.initializers.zeros, name="fc2", **types)(y), x)
        return x + y if self.fusion == "add" else x * jax.nn.sigmoid(y)


class _Affine(nn.Module):
    """The parameters of a dense layer, in the type it computes in."""

    features: int
    kernel_init: nn.initializers.Initializer
    dtype: DTypeLike
    param_dtype: DTypeLike

    @nn.compact
    def __call__(self, channels: int) -> tuple[Float[Array, "C F"], Float[Array, " F"]]:
        kernel = self.param("kernel", self.kernel_init, (channels, self.features), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
        return kernel.astype(self.dtype), bias.astype(self.dtype)


def spatial_softmax(logits: Float[Array, "B *space"]) -> Float[Array, "B *space"]:
    """Softmax over all positions of an image, in at least float32."""
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return jax.nn.softmax(wide, axis=tuple(range(1, logits.ndim)))
