"""A negative control: a gate that was drawn once and looks at nothing.

What a channel gate gains beyond it, it owes to what it computes and not to channels being scaled.
"""

import zlib
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import over_space


class RandomGate(Mechanism):
    """Scales each channel by a fixed number, drawn uniformly between 0 and 1.

    The numbers follow from `seed` and from where the module stands in the network: each place has its own, the same in
    training and evaluation, on every platform, from the first step to the last. They are no variables. Sows them,
    `"channel"` [B, C].
    """

    usual_placement: ClassVar[str] = "block"

    seed: int = 0
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        drawn = draw(self.seed, "/".join(self.path), x.shape[-1])
        gate = self.look("channel", jnp.broadcast_to(drawn, (x.shape[0], x.shape[-1])))
        return x * over_space(gate, x)


def draw(seed: int, path: str, channels: int) -> Float[Array, " C"]:
    """The gate of the place `path`, in float32."""
    # Other generators than threefry, which jax.config may name, draw otherwise on each platform.
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), zlib.crc32(path.encode()))
    return jax.random.uniform(key, (channels,), jnp.float32, minval=jnp.finfo(jnp.float32).tiny)
