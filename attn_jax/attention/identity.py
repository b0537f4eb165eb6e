"""The negative control that does nothing: a network with a place for attention, and nothing in it."""

from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism


class Identity(Mechanism):
    """Returns its input, which no parameter touches. Sows nothing."""

    usual_placement: ClassVar[str] = "block"
    starts_as_identity: ClassVar[bool] = True

    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        return x.astype(self.dtype or x.dtype)
