"""NAM: Normalization-based Attention Module, arXiv 2111.12419; its channel attention, as the authors' code.

The code keeps the gradient from the channels' shares, of which the paper does not speak. Another version of it has a
ReLU before the sigmoid, which the paper has not. The paper's spatial attention, tied to one size of map, is left out.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm


class NAM(Mechanism):
    """Scales each number by the sigmoid of its batch-normalised value times its channel's share of the scales.

    The share is the magnitude of the normalisation's scale, divided by the sum of all channels'; it counts as constant
    for the gradient. Sows the gates, `"full"` [B, *space, C]. At initialisation the share is 1 / C and the gates lie
    near one half: it about halves its input.
    """

    usual_placement: ClassVar[str] = "block"

    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        norm = BatchNorm(axis_name=self.axis_name, dtype=wide, param_dtype=self.param_dtype, name="norm")
        normal = norm(x, train=train)
        gate = self.look("full", jax.nn.sigmoid(normal * shares(norm.get_variable("params", "scale").astype(wide))))
        return x * gate.astype(x.dtype)


def shares(scale: Float[Array, " C"]) -> Float[Array, " C"]:
    """Each magnitude over the sum of all, without gradient."""
    magnitude = jnp.abs(lax.stop_gradient(scale))
    return magnitude / magnitude.sum()
