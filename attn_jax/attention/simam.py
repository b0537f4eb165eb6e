"""SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks, ICML 2021,
proceedings.mlr.press/v139/yang21o.html.

As published, but for maps of one position, where the authors' code divides by zero. In the authors' ResNets it stands
behind the 3 x 3 convolution, before its normalisation; here where others do, behind the branch's last.
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError


class SimAM(Mechanism):
    """Scales each number by how far it lies from the mean of its channel, in variances; it has no parameters.

    `e_lambda`, the paper's lambda, is added to the variance: 1e-4 is the authors' default, 0.1 what they train ImageNet
    with. Sows the gates, `"full"` [B, *space, C]; they lie between sigmoid(1/2) = 0.62 and 1, at initialisation and
    ever after.

    Raises:
        UserError: `e_lambda` is not positive.
    """

    usual_placement: ClassVar[str] = "block"

    e_lambda: float = 1e-4
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if not self.e_lambda > 0:
            raise UserError(f"attention 'simam': e_lambda={self.e_lambda!r} is not above 0, the paper has 1e-4")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        gate = self.look("full", jax.nn.sigmoid(importance(x, self.e_lambda)))
        return x * gate.astype(x.dtype)


def importance(x: Float[Array, "B *space C"], e_lambda: float) -> Float[Array, "B *space C"]:
    """The reciprocal of the paper's minimal energy of each number, in at least float32."""
    axes = tuple(range(1, x.ndim - 1))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    squares = jnp.square(wide - wide.mean(axes, keepdims=True))
    variance = squares.sum(axes, keepdims=True) / max(math.prod(x.shape[1:-1]) - 1, 1)
    return squares / (4 * (variance + e_lambda)) + 0.5
