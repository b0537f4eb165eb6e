"""BAM: Bottleneck Attention Module, arXiv 1807.06514.

The authors' code multiplies the channel and the spatial term where the paper adds them (`fusion`). It normalises before
each ReLU where the paper's equations 3 and 4 normalise each term and have no ReLU between convolutions (`normalise`).
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, Conv, global_average, over_space, reduced
from attn_jax.layers.initializers import kaiming_fan_out, torch_uniform


class BAM(Mechanism):
    """Adds to `x` its product with one gate for each number, from a term per channel and a term per position.

    The channel term comes from the means of all channels, the spatial one from two dilated convolutions of `x` with
    fewer channels. `fusion="mul"` gates by the sigmoid of their product, as the authors' code, `"add"` by that of their
    sum, as the paper; `normalise="hidden"` is the authors' code, `"terms"` the paper. Sows the gates, `"full"`
    [B, *space, C]. At initialisation `"mul"` multiplies its input by about 1.5; `"add"` by anything from 1 to 2, as
    widely spread as the spatial term, which starts large.

    Raises:
        UserError: `fusion` is neither `"mul"` nor `"add"`, or `normalise` neither `"hidden"` nor `"terms"`.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (1, 2, 3)

    reduction: int = 16
    dilation: int = 4
    fusion: str = "mul"
    normalise: str = "hidden"
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.fusion not in ("mul", "add"):
            raise UserError(f"attention 'bam': fusion={self.fusion!r} is neither 'mul' nor 'add'")
        if self.normalise not in ("hidden", "terms"):
            raise UserError(f"attention 'bam': normalise={self.normalise!r} is neither 'hidden' nor 'terms'")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        hidden = reduced(channels, self.reduction)

        def dense(features: int, name: str, init: nn.initializers.Initializer) -> nn.Dense:
            return nn.Dense(features, kernel_init=init, name=name, **types)

        def norm(y: Array, name: str) -> Array:
            return BatchNorm(axis_name=self.axis_name, name=name, **types)(y, train=train)

        authors = self.normalise == "hidden"
        channel = dense(hidden, "fc1", torch_uniform)(global_average(x))
        channel = nn.relu(norm(channel, "fc1_norm") if authors else channel)
        channel = dense(channels, "fc2", torch_uniform)(channel)
        channel = over_space(channel if authors else norm(channel, "channel_norm"), x)

        spatial = dense(hidden, "conv1", kaiming_fan_out)(x)
        spatial = nn.relu(norm(spatial, "conv1_norm")) if authors else spatial
        for name in ("conv2", "conv3"):
            spatial = Conv(hidden, 3, dilation=self.dilation, use_bias=True, name=name, **types)(spatial)
            spatial = nn.relu(norm(spatial, f"{name}_norm")) if authors else spatial
        spatial = dense(1, "conv4", kaiming_fan_out)(spatial)
        spatial = (spatial if authors else norm(spatial, "spatial_norm")).astype(x.dtype)

        logits = channel * spatial if self.fusion == "mul" else channel + spatial
        return x * (1 + self.look("full", jax.nn.sigmoid(logits)))
