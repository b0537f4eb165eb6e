"""A negative control: SE's parameters (arXiv 1709.01507) as two more layers, which gate nothing.

What SE gains beyond it, it owes to the gate and not to having more parameters.
"""

from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import GateMLP


class Bottleneck(Mechanism):
    """x + W2 relu(W1 x) at every position, both layers biased, with exactly the parameters of SE at this `reduction`.

    Sows nothing. At initialisation the second term is small beside x, but not zero.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        mlp = GateMLP(self.reduction, dtype=self.dtype, param_dtype=self.param_dtype, name="mlp")
        return x + mlp(x).astype(x.dtype)
