"""Polarized Self-Attention: Towards High-quality Pixel-wise Regression, arXiv 2107.00782.

Paper and authors' code disagree on both gates, and so do the code's two modules:

- Channels: values pooled by a softmax map over space, then a layer up to all channels. The paper normalises what comes
  out; the code's parallel module does not, its sequential one puts a reduction by 4, normalisation and ReLU between.
- Space: a query for the whole image times the values at each position. The paper has a softmax over the query's
  channels; the code has one over space, of the products (parallel) or of the values (sequential).

`form` is `"code"` or `"paper"`. Any number of spatial axes.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.ema import weigh
from attn_jax.attention.gc import LEAST_HIDDEN, spatial_softmax
from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import global_average, over_space, reduced, weighted_sum
from attn_jax.layers.initializers import kaiming_fan_in, torch_uniform


class Polarized(Mechanism):
    """The two gates, for both arrangements of them; sows them, `"channel"` [B, C] and `"spatial"` [B, *space].

    Subclasses have, as `channel_logits` and `spatial_logits`, what their module of the authors' code does.

    Raises:
        UserError: `form` is neither `"code"` nor `"paper"`.
    """

    usual_placement: ClassVar[str] = "block"

    form: str = "code"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.form not in ("code", "paper"):
            raise UserError(f"attention 'psa_p' or 'psa_s': form={self.form!r} is neither 'code' nor 'paper'")
        super().__post_init__()

    def channel_gate(self, x: Float[Array, "B *space C"]) -> Float[Array, "B C"]:
        """From half the channels, pooled by a softmax map."""
        weights = spatial_softmax(self.dense(1, "channel_query")(x)[..., 0])
        values = self.dense(reduced(x.shape[-1], 2), "channel_value")(x)
        context = weighted_sum(values, weights).astype(values.dtype)
        if self.form == "paper":
            logits = self.layer_norm()(self.dense(x.shape[-1], "up", torch_uniform)(context))
        else:
            logits = self.channel_logits(context, x.shape[-1])
        return self.look("channel", jax.nn.sigmoid(logits))

    def spatial_gate(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *space"]:
        """From half the channels, at each position weighted by the query."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        half = reduced(x.shape[-1], 2)
        query = global_average(self.dense(half, "spatial_query")(x)).astype(wide)
        value = self.dense(half, "spatial_value")(x).astype(wide)
        if self.form == "paper":
            logits = weigh(jax.nn.softmax(query), value)
        else:
            logits = self.spatial_logits(query, value)
        return self.look("spatial", jax.nn.sigmoid(logits))

    def dense(
        self, features: int, name: str, kernel_init: nn.initializers.Initializer = kaiming_fan_in, bias: bool = False
    ) -> nn.Dense:
        """A 1 x 1 convolution in our types."""
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(features, use_bias=bias, kernel_init=kernel_init, name=name, **types)

    def layer_norm(self) -> nn.LayerNorm:
        """Layer normalisation over channels in our types."""
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="norm", **types)


class ParallelPSA(Polarized):
    """`x` times a gate for each channel plus `x` times one for each position.

    Both gates lie near one half at initialisation: the sum about keeps its input. In the authors' code the spatial gate
    is the sigmoid of a softmax, between 0.5 and 0.731.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channel, spatial = self.channel_gate(x), self.spatial_gate(x)
        return x * (over_space(channel, x) + spatial[..., None].astype(x.dtype))

    def channel_logits(self, context: Float[Array, "B c"], channels: int) -> Float[Array, "B C"]:
        """Back to all channels by one layer."""
        return self.dense(channels, "up", torch_uniform)(context)

    def spatial_logits(self, query: Float[Array, "B c"], value: Float[Array, "B *space c"]) -> Float[Array, "B *space"]:
        """A softmax over positions, which the gate's sigmoid follows."""
        return spatial_softmax(weigh(query, value))


class SequentialPSA(Polarized):
    """`x` times a gate for each channel; the product times a gate for each position, which is computed from it.

    Both gates lie near one half at initialisation: it about quarters its input.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        x = x * over_space(self.channel_gate(x), x)
        return x * self.spatial_gate(x)[..., None].astype(x.dtype)

    def channel_logits(self, context: Float[Array, "B c"], channels: int) -> Float[Array, "B C"]:
        """Back to all channels by two layers with a normalisation between."""
        # The normalisation makes 0 of one unit and -1 and 1 of two, whatever the image.
        features = max(LEAST_HIDDEN, reduced(context.shape[-1], 4))
        hidden = self.dense(features, "fc1", torch_uniform, bias=True)(context)
        return self.dense(channels, "fc2", torch_uniform, bias=True)(nn.relu(self.layer_norm()(hidden)))

    def spatial_logits(self, query: Float[Array, "B c"], value: Float[Array, "B *space c"]) -> Float[Array, "B *space"]:
        """The values' softmax over positions, weighted by the query."""
        return weigh(query, jax.nn.softmax(value, axis=tuple(range(1, value.ndim - 1))))
