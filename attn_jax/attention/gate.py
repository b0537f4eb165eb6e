"""Attention U-Net: Learning Where to Look for the Pancreas, arXiv 1804.03999.

As in the authors' code the gated features pass a biased 1 x 1 convolution and a batch normalisation; the paper's
formula ends with the product: `transform=False`. The code's `mode="concatenation_residual"` takes a softmax over
positions instead of a sigmoid.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, Conv, avg_pool, resize_linear
from attn_jax.layers.initializers import kaiming_fan_in

MODES: tuple[str, ...] = ("concatenation", "concatenation_residual")


class AttentionGate(Mechanism):
    """Scales each position by a gate from its own features and a coarser signal, then transforms and normalises.

    The gate is computed on a grid `sub_sample_factor` times coarser and interpolated; as in the authors' code, what is
    left over at the far end of an axis does not enter it. `inter_channels=None` is half the channels. Without a signal
    it gates itself: the signal is then its input, averaged to that grid. Sows the gate, `"spatial"` [B, *space]. At
    initialisation the gate is a random one and so is the transform of what it leaves: this is far from the identity,
    and without the transform about half of it.

    Raises:
        UserError: `mode` is unknown, or `sub_sample_factor` or `inter_channels` is less than 1.
    """

    usual_placement: ClassVar[str] = "block"

    inter_channels: int | None = None
    sub_sample_factor: int = 2
    mode: str = "concatenation"
    transform: bool = True
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"attention 'gate': mode={self.mode!r} is neither {MODES[0]!r} nor {MODES[1]!r}")
        for field in ("sub_sample_factor", "inter_channels"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UserError(f"attention 'gate': {field}={value!r} is less than 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B *space C"], *, train: bool, signal: Float[Array, "B *coarse G"] | None = None
    ) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        space, channels, factor = x.shape[1:-1], x.shape[-1], self.sub_sample_factor
        hidden = max(1, channels // 2) if self.inter_channels is None else self.inter_channels
        if signal is None:
            window = tuple(min(factor, side) for side in space)
            signal = avg_pool(x, window=window, strides=window)

        def dense(features: int, name: str) -> nn.Dense:
            return nn.Dense(features, kernel_init=kaiming_fan_in, name=name, **types)

        short = [(0, max(0, factor - side)) for side in space]
        theta = Conv(hidden, factor, factor, 0, kernel_init=kaiming_fan_in, name="theta", **types)
        own = theta(jnp.pad(x, [(0, 0), *short, (0, 0)]))
        hidden_sum = nn.relu(own + resize_linear(dense(hidden, "phi")(signal), own.shape[1:-1]))
        coarse = activate(dense(1, "psi")(hidden_sum)[..., 0], self.mode)
        gate = self.look("spatial", resize_linear(coarse[..., None], space)[..., 0])

        y = x * gate[..., None].astype(x.dtype)
        if not self.transform:
            return y
        y = dense(channels, "out")(y)
        return BatchNorm(axis_name=self.axis_name, name="norm", **types)(y, train=train).astype(x.dtype)


def activate(logits: Float[Array, "B *coarse"], mode: str) -> Float[Array, "B *coarse"]:
    """A sigmoid, or in the mode `"concatenation_residual"` a softmax over positions, in at least float32."""
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if mode == "concatenation":
        return jax.nn.sigmoid(wide)
    return jax.nn.softmax(wide, axis=tuple(range(1, wide.ndim)))
