"""SA-Net: Shuffle Attention for Deep Convolutional Neural Networks, arXiv 2102.00240.

As the authors' code, in which the groups share their parameters; here any number of channels fits (see `Shuffle`).
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import largest_divisor


class Shuffle(Mechanism):
    """Gates one half of each group of channels by channel, the other by position, and mixes the halves of all channels.

    The first half's gates come from the channels' means, the second's from its numbers normalised over space, each
    through a scale and a bias that the groups share. Then the first and the second half of all channels are
    interleaved. There are at most `groups` groups, as many as leave each an even number of channels; where there is an
    odd one out, it stays last, gated as if one more channel of zeros followed.

    Sows the gates in the order of the input, `"full"` [B, *space, C]. At initialisation all are sigmoid(1) = 0.73.
    """

    usual_placement: ClassVar[str] = "block"

    groups: int = 64
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        groups = largest_divisor((channels + 1) // 2, self.groups)
        wide = even(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        first, second = jnp.moveaxis(wide.reshape(*x.shape[:-1], groups, 2, -1), -2, 0)

        by_channel = Affine(0, 1, self.param_dtype, name="channel")(mean(first))
        normal = Affine(1, 0, self.param_dtype, name="norm")(standardised(second))
        by_position = Affine(0, 1, self.param_dtype, name="spatial")(normal)
        logits = jnp.stack([jnp.broadcast_to(by_channel, second.shape), by_position], axis=-2)
        gate = self.look("full", jax.nn.sigmoid(logits).reshape(*x.shape[:-1], -1)[..., :channels])
        return interleaved(x * gate.astype(x.dtype))


class Affine(nn.Module):
    """A scale and a bias for each channel, which start at `scale` and `bias`."""

    scale: float
    bias: float
    param_dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
        starts = {"scale": self.scale, "bias": self.bias}
        a, b = (
            self.param(kind, nn.initializers.constant(start), x.shape[-1:], self.param_dtype)
            for kind, start in starts.items()
        )
        return a * x + b


def even(x: Float[Array, "*batch C"]) -> Float[Array, "*batch E"]:
    """`x`, with one channel of zeros more where there is an odd number."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)]) if x.shape[-1] % 2 else x


def mean(x: Float[Array, "B *space G C"]) -> Float[Array, "B *ones G C"]:
    """The mean over space, which it keeps as axes of length 1."""
    return x.mean(tuple(range(1, x.ndim - 2)), keepdims=True)


def standardised(x: Float[Array, "B *space G C"]) -> Float[Array, "B *space G C"]:
    """Each channel of each image less its mean over space, divided by its standard deviation."""
    centred = x - mean(x)
    return centred * lax.rsqrt(mean(jnp.square(centred)) + 1e-5)


def interleaved(x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """The first half of the channels in the even places, the second in the odd ones."""
    halves = even(x).reshape(*x.shape[:-1], 2, -1)
    return halves.swapaxes(-1, -2).reshape(*x.shape[:-1], -1)[..., : x.shape[-1]]
