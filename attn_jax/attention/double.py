"""A^2-Nets: Double Attention Networks, arXiv 1810.11579.

Both attention vectors and the features have a quarter of the channels; `reduction=2` fits the parameters of the paper's
networks. Of the implementations about, several take the second softmax over positions or over the batch: it is over
the descriptors, for each position.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import reduced
from attn_jax.layers.initializers import torch_uniform


class Double(Mechanism):
    """Gathers the image into a few descriptors by one attention and hands them out to the positions by another.

    With n = C / `reduction` descriptors of N positions it sows `"token"` twice: how each position weighs the
    descriptors, [B, 1, N, n], then how each descriptor weighs the positions, [B, 1, n, N]. The N x N map of their
    product is never made. The last layer starts at zero, which is our choice: at initialisation this is the identity.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (3,)
    starts_as_identity: ClassVar[bool] = True

    reduction: int = 4
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        batch, channels = x.shape[0], x.shape[-1]
        hidden = reduced(channels, self.reduction)

        def layer(name: str) -> Float[Array, "B *space E"]:
            return nn.Dense(hidden, kernel_init=torch_uniform, name=name, **types)(x)

        features = layer("a")
        gather, distribute = attention_vectors(layer("b"), layer("v"))
        seen = self.look("token", distribute.reshape(batch, 1, -1, hidden))
        distribute = seen.reshape(distribute.shape)
        seen = self.look("token", gather.reshape(batch, 1, -1, hidden).swapaxes(2, 3), (hidden, *x.shape[1:-1]))
        gather = seen.swapaxes(2, 3).reshape(gather.shape)
        y = hand_out(distribute, descriptors(gather, features))
        y = nn.Dense(channels, kernel_init=nn.initializers.zeros, name="out", **types)(y)
        return x + y.astype(x.dtype)


def attention_vectors(
    gather: Float[Array, "B *space E"], distribute: Float[Array, "B *space E"]
) -> tuple[Float[Array, "B *space E"], Float[Array, "B *space E"]]:
    """The softmax of `gather` over positions and of `distribute` over descriptors, in at least float32."""
    wide = jnp.promote_types(gather.dtype, jnp.float32)
    by_position = jax.nn.softmax(gather.astype(wide), axis=tuple(range(1, gather.ndim - 1)))
    return by_position, jax.nn.softmax(distribute.astype(wide), axis=-1)


def descriptors(gather: Float[Array, "B *space E"], features: Float[Array, "B *space F"]) -> Float[Array, "B E F"]:
    """The sums of the features over all positions, each weighted by its own map."""
    space = tuple(range(1, gather.ndim - 1))
    return lax.dot_general(gather.astype(features.dtype), features, ((space, space), ((0,), (0,))))


def hand_out(distribute: Float[Array, "B *space E"], gathered: Float[Array, "B E F"]) -> Float[Array, "B *space F"]:
    """Each position's mixture of the descriptors."""
    return jnp.einsum("b...e,bef->b...f", distribute.astype(gathered.dtype), gathered)
