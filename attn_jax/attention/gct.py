"""Gated Channel Transformation for Visual Recognition, arXiv 1909.11519; as the authors' code.

The paper sets one before every convolution, and spares `beta` the weight decay.
"""

from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import over_space

EPSILON = 1e-5


class GCT(Mechanism):
    """Scales each channel by a gate from 0 to 2 computed from its norm over space relative to those of all channels.

    `mode` says which norm, `"l2"` or `"l1"`; `alpha` [C] weighs it, `gamma` and `beta` [C] scale and shift the gate's
    logit and start at zero: at initialisation it is the identity. Sows the gates, `"channel"` [B, C].

    Raises:
        UserError: `mode` is neither `"l2"` nor `"l1"`.
    """

    usual_placement: ClassVar[str] = "block"
    starts_as_identity: ClassVar[bool] = True

    mode: str = "l2"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.mode not in ("l2", "l1"):
            raise UserError(f"attention 'gct': mode={self.mode!r} is neither 'l2' nor 'l1'")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        starts = {"alpha": nn.initializers.ones, "gamma": nn.initializers.zeros, "beta": nn.initializers.zeros}
        alpha, gamma, beta = (self.param(name, start, x.shape[-1:], self.param_dtype) for name, start in starts.items())
        relative = relative_norms(x, alpha, self.mode)
        gate = self.look("channel", 1 + jnp.tanh(gamma * relative + beta))
        return x * over_space(gate, x)


def relative_norms(x: Float[Array, "B *space C"], alpha: Float[Array, " C"], mode: str) -> Float[Array, "B C"]:
    """`alpha` times each channel's norm over space, over the root mean square of these (`"l1"`: mean magnitude)."""
    axes = tuple(range(1, x.ndim - 1))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if mode == "l1":
        norms = alpha * jnp.abs(wide).sum(axes)
        return norms / (jnp.abs(norms).mean(-1, keepdims=True) + EPSILON)
    norms = alpha * jnp.sqrt(jnp.square(wide).sum(axes) + EPSILON)
    return norms * lax.rsqrt(jnp.square(norms).mean(-1, keepdims=True) + EPSILON)
