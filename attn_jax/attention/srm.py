"""SRM: A Style-based Recalibration Module for Convolutional Neural Networks, arXiv 1903.10829.

As the authors' code, which divides the variance by one less than the number of positions and adds 1e-5 under the root
(one version of it does not); maps of one position, for which that is 0 / 0, have no variance here.
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm, over_space


class SRM(Mechanism):
    """Scales each channel by a gate computed from its own mean and standard deviation over space.

    The two weights of each channel, `cfc` [C, 2], start at zero: at initialisation every gate is one half and it halves
    its input. Sows the gates, `"channel"` [B, C].
    """

    usual_placement: ClassVar[str] = "block"

    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        cfc = self.param("cfc", nn.initializers.zeros, (x.shape[-1], 2), self.param_dtype)
        z = (style(x) * cfc).sum(-1)
        norm = BatchNorm(axis_name=self.axis_name, param_dtype=self.param_dtype, name="norm")
        gate = self.look("channel", jax.nn.sigmoid(norm(z, train=train)))
        return x * over_space(gate, x)


def style(x: Float[Array, "B *space C"]) -> Float[Array, "B C 2"]:
    """The mean and the standard deviation over space, in at least float32."""
    axes = tuple(range(1, x.ndim - 1))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = wide.mean(axes, keepdims=True)
    variance = jnp.square(wide - mean).sum(axes) / max(math.prod(x.shape[1:-1]) - 1, 1)
    return jnp.stack([mean.reshape(variance.shape), jnp.sqrt(variance + 1e-5)], axis=-1)
