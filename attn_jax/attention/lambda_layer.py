"""LambdaNetworks: Modeling Long-Range Interactions without Attention, arXiv 2102.08602, with intra-depth 1.

Positions act through a local convolution, as in the paper's variant for large images; its window of 9 is timm's, the
paper's 23. A stride is average pooling behind the layer.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.mhsa import average_down
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, Conv, largest_divisor
from attn_jax.layers.initializers import torch_bias


class LambdaLayer(Mechanism):
    """Replaces a convolution: each position's queries meet a linear map that its whole context was summarised into.

    The map, from `depth` numbers (the paper's k) to a head's values, is a sum over all positions, weighted by `depth`
    softmax maps, plus one over a window of `kernel_size` (the paper's r) around the position, weighted by distance; all
    heads share it. Queries and values are normalised. Sows the softmax maps, `"token"` [B, 1, depth, N] (positions in
    the order of the axes). Not the identity at initialisation: a random linear map of each position.
    """

    usual_placement: ClassVar[str] = "conv"

    features: int | None = None
    strides: int = 1
    heads: int = 4
    depth: int = 16
    kernel_size: int = 9
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field, value in (("heads", self.heads), ("depth", self.depth)):
            if value < 1:
                raise UserError(f"attention 'lambda': {field}={value!r} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        features = self.features or x.shape[-1]
        heads = largest_divisor(features, self.heads)
        widths = (heads * self.depth, self.depth, features // heads)
        start = nn.initializers.lecun_normal()
        qkv = nn.Dense(sum(widths), use_bias=False, kernel_init=start, name="qkv", **types)(x)
        q, k, v = jnp.split(qkv, (widths[0], widths[0] + widths[1]), axis=-1)
        q, v = (
            BatchNorm(axis_name=self.axis_name, name=name, **types)(part, train=train)
            for name, part in (("norm_q", q), ("norm_v", v))
        )
        keys = self.look("token", position_softmax(k), (self.depth, *x.shape[1:-1]))

        conv = Conv(
            self.depth,
            self.kernel_size,
            use_bias=True,
            kernel_init=nn.initializers.normal(self.depth**-0.5),
            bias_init=torch_bias(self.kernel_size ** (x.ndim - 2)),
            name="conv",
            **types,
        )
        one_by_one = jnp.moveaxis(v, -1, 1).reshape(-1, *x.shape[1:-1], 1)
        near = conv(one_by_one).reshape(x.shape[0], widths[2], *x.shape[1:-1], self.depth)

        y = apply_lambdas(q.reshape(*q.shape[:-1], heads, self.depth), content_lambda(keys, v), near)
        return average_down(y, self.strides).astype(self.dtype or x.dtype)


def position_softmax(k: Float[Array, "B *space E"]) -> Float[Array, "B 1 E N"]:
    """Each channel's softmax over all positions, in at least float32."""
    wide = k.astype(jnp.promote_types(k.dtype, jnp.float32))
    return jnp.swapaxes(jax.nn.softmax(wide.reshape(k.shape[0], -1, k.shape[-1]), axis=1), 1, 2)[:, None]


def content_lambda(keys: Float[Array, "B 1 E N"], v: Float[Array, "B *space V"]) -> Float[Array, "B V E"]:
    """The values' sums over all positions, weighted by each key's map."""
    flat = v.reshape(v.shape[0], -1, v.shape[-1])
    return jnp.einsum("bken,bnv->bve", keys.astype(v.dtype), flat)


def apply_lambdas(
    q: Float[Array, "B *space K E"], everywhere: Float[Array, "B V E"], near: Float[Array, "B V *space E"]
) -> Float[Array, "B *space F"]:
    """Each query's product with the map common to all positions plus its own, the heads side by side."""
    space = "xyz"[: q.ndim - 3]
    maps = near + jnp.expand_dims(everywhere, tuple(range(2, near.ndim - 1)))
    return jnp.einsum(f"b{space}he,bv{space}e->b{space}hv", q, maps).reshape(*q.shape[:-2], -1)
