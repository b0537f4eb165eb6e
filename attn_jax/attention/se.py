"""Squeeze-and-Excitation Networks, arXiv 1709.01507.

Both layers of the gate are biased, as in the authors' code; many others leave the biases out (`use_bias=False`).
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import GateMLP, global_average, over_space


class SE(Mechanism):
    """Scales each channel by a gate computed from the means of all channels.

    Sows the gates, `"channel"` [B, C]. At initialisation they lie near one half: it about halves its input.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    use_bias: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        mlp = GateMLP(self.reduction, self.use_bias, dtype=self.dtype, param_dtype=self.param_dtype, name="mlp")
        gate = self.look("channel", jax.nn.sigmoid(mlp(global_average(x))))
        return x * over_space(gate, x)
