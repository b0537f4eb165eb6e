"""Non-local Neural Networks, arXiv 1711.07971, in the form called embedded Gaussian.

The default is the bare block: weights alone, and every position is a key. The authors' code is `use_bias=True,
batch_norm=True, pool=2`; it leaves time unpooled, which no axis of an image or volume is. That code divides the logits
by the root of the hidden channels, the paper does not: `scale=False`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, reduced


class NonLocal(Mechanism):
    """Adds to each position what it finds at all others, weighted by a softmax of their similarities.

    `pool` is the window of a max-pooling of keys and values; axes shorter than it become one, what is left over at the
    end of an axis is no key. Sows the weights,
    `"token"` [B, 1, N, M]: of N positions, in row-major order, over the M that pooling leaves. The last layer starts at
    zero (with `batch_norm` its scale does): at initialisation this is the identity.

    Raises:
        UserError: `pool` is less than 1.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (3,)
    starts_as_identity: ClassVar[bool] = True

    reduction: int = 2
    use_bias: bool = False
    batch_norm: bool = False
    pool: int = 1
    scale: bool = True
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise UserError(f"attention 'non_local': pool={self.pool!r} is not a window; 1 leaves every position a key")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        batch, *space, channels = x.shape
        hidden = reduced(channels, self.reduction)

        def layer(features: int, init: nn.initializers.Initializer, name: str) -> nn.Dense:
            return nn.Dense(features, use_bias=self.use_bias, kernel_init=init, name=name, **types)

        normal, zeros = nn.initializers.normal(0.01), nn.initializers.zeros
        pooled = x
        if self.pool > 1:
            window = tuple(min(self.pool, side) for side in space)
            pooled = nn.max_pool(x, window, window)
        layout = (*space, *pooled.shape[1:-1])
        positions, pooled = (z.reshape(batch, -1, channels) for z in (x, pooled))
        queries, keys = layer(hidden, normal, "theta")(positions), layer(hidden, normal, "phi")(pooled)
        weights = token_weights(queries, keys, hidden**-0.5 if self.scale else 1.0)
        weights = self.look("token", weights, layout)
        y = attend(weights, layer(hidden, normal, "g")(pooled))

        y = layer(channels, normal if self.batch_norm else zeros, "out")(y).reshape(x.shape)
        if self.batch_norm:
            y = BatchNorm(axis_name=self.axis_name, scale_init=zeros, name="norm", **types)(y, train=train)
        return x + y.astype(x.dtype)


def token_weights(
    queries: Float[Array, "B N E"], keys: Float[Array, "B M E"], scale: float = 1.0
) -> Float[Array, "B 1 N M"]:
    """For each query a softmax over the keys of its products with them times `scale`, in at least float32."""
    wide = jnp.promote_types(queries.dtype, jnp.float32)
    logits = jnp.einsum("bne,bme->bnm", queries, keys, preferred_element_type=wide)
    return jax.nn.softmax(scale * logits, axis=-1)[:, None]


def attend(weights: Float[Array, "B 1 N M"], values: Float[Array, "B M C"]) -> Float[Array, "B N C"]:
    """The weighted sums of the values, in their type."""
    return jnp.einsum("bknm,bmc->bnc", weights.astype(values.dtype), values)
