"""CBAM: Convolutional Block Attention Module, arXiv 1807.06521.

As the authors' code, it normalises the spatial gate before its sigmoid; the paper's formula (equation 3) does not:
`spatial_norm=False`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm, Conv, GateMLP, global_average, global_max, max_and_mean, over_space


class CBAM(Mechanism):
    """Scales channels by a gate from their means and maxima over space, then positions by one from those over channels.

    `use_bias` is that of the perceptron behind the channel gate. Sows both gates, `"channel"` [B, C] and `"spatial"`
    [B, *space]. At initialisation the spatial gate is one half everywhere (the scale of its normalisation, where it has
    one, starts at zero) and the channel gates lie near one half: it about quarters its input.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    kernel_size: int = 7
    use_bias: bool = True
    spatial_norm: bool = True
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        pooled = jnp.stack([global_average(x), global_max(x)])
        mlp = GateMLP(self.reduction, self.use_bias, name="mlp", **types)
        channel = self.look("channel", jax.nn.sigmoid(mlp(pooled).sum(0)))
        x = x * over_space(channel, x)

        logits = Conv(1, self.kernel_size, name="conv", **types)(max_and_mean(x, -1))
        if self.spatial_norm:
            start: dict[str, Any] = {"momentum": 0.99, "scale_init": nn.initializers.zeros}
            logits = BatchNorm(axis_name=self.axis_name, name="norm", **start, **types)(logits, train=train)
        spatial = self.look("spatial", jax.nn.sigmoid(logits)[..., 0])
        return x * spatial[..., None].astype(x.dtype)
