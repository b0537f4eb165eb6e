"""BAM: Bottleneck Attention Module, arXiv 1807.06514.

The authors' code multiplies the channel and the spatial term where the paper adds them, and normalises before each ReLU
where the paper normalises each term.
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
    sum, as the paper. Sows the gates, `"full"` [B, *space, C]. At initialisation `"mul"` multiplies its input by about
    1.5; `"add"` by anything from 1 to 2, as widely spread as the spatial term, whose last layer starts large.

    Raises:
        UserError: `fusion` is neither `"mul"` nor `"add"`.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (1, 2, 3)

    reduction: int = 16
    dilation: int = 4
    fusion: str = "mul"
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.fusion not in ("mul", "add"):
            raise UserError(f"attention 'bam': fusion={self.fusion!r} is neither 'mul' nor 'add'")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        hidden = reduced(channels, self.reduction)

        def dense(features: int, name: str, init: nn.initializers.Initializer) -> nn.Dense:
            return nn.Dense(features, kernel_init=init, name=name, **types)

        def norm_relu(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(axis_name=self.axis_name, name=name, **types)(y, train=train))

        channel = norm_relu(dense(hidden, "fc1", torch_uniform)(global_average(x)), "fc1_norm")
        channel = over_space(dense(channels, "fc2", torch_uniform)(channel), x)

        spatial = norm_relu(dense(hidden, "conv1", kaiming_fan_out)(x), "conv1_norm")
        for name in ("conv2", "conv3"):
            conv = Conv(hidden, 3, dilation=self.dilation, use_bias=True, name=name, **types)
            spatial = norm_relu(conv(spatial), f"{name}_norm")
        spatial = dense(1, "conv4", kaiming_fan_out)(spatial).astype(x.dtype)

        logits = channel * spatial if self.fusion == "mul" else channel + spatial
        return x * (1 + self.look("full", jax.nn.sigmoid(logits)))
