"""Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks, arXiv 1810.12348.

As the authors' models: convolutions start by He's initialisation, one with a kernel as large as the map is not padded
(timm's is), and theta plus has a ReLU between the convolutions and its perceptron (timm's has none). The perceptron
starts as PyTorch's layers do, theirs with a deviation of 0.01. Where theirs fit maps of one size, that kernel is
interpolated here for others.
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import (
    BatchNorm,
    Conv,
    GateMLP,
    avg_pool,
    global_average,
    over_space,
    position_table,
    resize_nearest,
)
from attn_jax.layers.initializers import kaiming_fan_in

VARIANTS = ("theta_minus", "theta", "theta_plus")
EXTENTS = (0, 2, 4, 8)


class GE(Mechanism):
    """Gathers each channel over a neighbourhood and scales the channel there by the sigmoid of what it gathered.

    `extent` is the neighbourhood: 0 for the whole map, else one value for so many positions along each axis, spread
    over them again. `variant="theta_minus"` gathers means and has no parameters; `"theta"` gathers by depthwise
    convolutions, each normalised over the batch: one as large as the map at initialisation, or log2(extent) of 3 x 3 at
    stride 2; `"theta_plus"` passes the result through a perceptron with `C // reduction` hidden channels.

    Sows the gates, `"channel"` [B, C] for the whole map, else `"full"` [B, *space, C]. At initialisation they lie
    around one half: it about halves its input.

    Raises:
        UserError: `variant` or `extent` is none of the above.
    """

    usual_placement: ClassVar[str] = "block"

    variant: str = "theta_minus"
    extent: int = 0
    reduction: int = 16
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field, value, known in (("variant", self.variant, VARIANTS), ("extent", self.extent, EXTENTS)):
            if value not in known:
                raise UserError(f"attention 'ge': {field}={value!r} is none of {', '.join(map(repr, known))}")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        y = average(x, self.extent) if self.variant == "theta_minus" else self._convolve(x, train)
        if self.variant == "theta_plus":
            mlp = GateMLP(self.reduction, dtype=self.dtype, param_dtype=self.param_dtype, name="mlp")
            y = mlp(nn.relu(y))
        gate = jax.nn.sigmoid(y.astype(jnp.promote_types(x.dtype, jnp.float32)))
        if self.extent == 0:
            return x * over_space(self.look("channel", gate), x)
        return x * self.look("full", resize_nearest(gate, x.shape[1:-1])).astype(x.dtype)

    def _convolve(self, x: Float[Array, "B *space C"], train: bool) -> Float[Array, "B *coarse C"]:
        channels = x.shape[-1]
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = functools.partial(BatchNorm, axis_name=self.axis_name, **types)
        if self.extent == 0:
            kernel = position_table(self, "kernel", kaiming_fan_in, x.shape[1:-1], channels, self.param_dtype)
            # On more positions than are stored the sum would outgrow what the normalisation has seen.
            share = self.get_variable("params", "kernel").size / kernel.size
            return norm(name="norm1")(share * weighted_sum(x, kernel), train=train)
        for i in range(1, self.extent.bit_length()):
            x = x if i == 1 else nn.relu(x)
            x = Conv(channels, 3, 2, groups=channels, kernel_init=kaiming_fan_in, name=f"conv{i}", **types)(x)
            x = norm(name=f"norm{i}")(x, train=train)
        return x


def average(x: Float[Array, "B *space C"], extent: int) -> Float[Array, "B *coarse C"]:
    """The mean over space, or one for every `extent` positions over the `2 * extent - 1` around them."""
    if extent == 0:
        return global_average(x)
    return avg_pool(x, window=2 * extent - 1, strides=extent, padding=extent - 1)


def weighted_sum(x: Float[Array, "B *space C"], kernel: Float[Array, "*space C"]) -> Float[Array, "B C"]:
    """The sum over space of `x` weighted by `kernel`, in at least float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    axes = list(range(x.ndim))
    kernel = kernel.astype(x.dtype)
    return jnp.einsum(x, axes, kernel, axes[1:], [0, x.ndim - 1], preferred_element_type=wide)
