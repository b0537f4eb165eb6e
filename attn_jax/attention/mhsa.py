"""Bottleneck Transformers for Visual Recognition, arXiv 2101.11605.

As in the authors' code, the scale of the queries holds for the positions too; the paper's figure 4 shows none for
these, and timm by default scales the products with keys only: `scale_positions=False`. A stride is average pooling
behind the attention.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import avg_pool, largest_divisor, position_table


class MHSA(Mechanism):
    """Replaces a 3 x 3 convolution with attention of every position to all, by content and relative position.

    Each spatial axis of n positions has a table of the 2n - 1 distances along it, shared by the heads: stored at the
    size of the first call, interpolated at another. Sows the attention, `"token"` [B, heads, N, N] (positions in the
    order of the axes). Not the identity at initialisation: it mixes a random projection of all positions.
    """

    usual_placement: ClassVar[str] = "conv"
    usual_stages: ClassVar[tuple[int, ...]] = (4,)

    features: int | None = None
    strides: int = 1
    heads: int = 4
    scale_positions: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise UserError(f"attention 'mhsa': heads={self.heads!r} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        space, features = x.shape[1:-1], self.features or x.shape[-1]
        heads = largest_divisor(features, self.heads)
        start = nn.initializers.lecun_normal()
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        qkv = nn.Dense(3 * features, use_bias=False, kernel_init=start, name="qkv", **types)(x)
        q, k, v = (part.reshape(*x.shape[:-1], heads, -1) for part in jnp.split(qkv, 3, axis=-1))
        tables = position_tables(self, space, q.shape[-1], self.param_dtype)
        scale = q.shape[-1] ** -0.5
        tables = tables if self.scale_positions else [table / scale for table in tables]
        weights = self.look("token", attention(q * scale, k, tables), (*space, *space))
        return average_down(attend(weights, v), self.strides).astype(self.dtype or x.dtype)


def position_tables(
    module: nn.Module, space: Sequence[int], channels: int, param_dtype: DTypeLike
) -> list[Float[Array, "n n E"]]:
    """For each axis, parameters `position<axis>` [2n - 1, E] of `module`, laid out by query and key position."""
    start = nn.initializers.normal(channels**-0.5)
    tables = [
        position_table(module, f"position{axis}", start, (2 * n - 1,), channels, param_dtype)
        for axis, n in enumerate(space)
    ]
    return [by_distance(table, n) for table, n in zip(tables, space, strict=True)]


def by_distance(table: Float[Array, "distances E"], queries: int) -> Float[Array, "N M E"]:
    """From a table of 2M - 1 distances to the entry of each query (of N <= M) and key: that of M - 1 + key - query."""
    distances = table.shape[0]
    # Rows of one entry more than they are long shift by one from row to row: no gather.
    rows = jnp.tile(jnp.pad(table, ((0, 1), (0, 0))), (queries, 1))[: queries * distances]
    return rows.reshape(queries, distances, -1)[:, distances // 2 :]


def attention(
    q: Float[Array, "B *space K E"], k: Float[Array, "B *space K E"], tables: Sequence[Float[Array, "n n E"]]
) -> Float[Array, "B K N N"]:
    """Softmax, in at least float32, of each query's product with every key plus those with its places' entries."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    batch, *space, heads, _ = q.shape
    ours, theirs = "xyz"[: len(space)], "uvw"[: len(space)]
    logits = jnp.einsum(f"n{ours}he,n{theirs}he->nh{ours}{theirs}", q, k, preferred_element_type=wide)
    for axis, (n, table) in enumerate(zip(space, tables, strict=True)):
        form = f"n{ours}he,{ours[axis]}{theirs[axis]}e->nh{ours}{theirs[axis]}"
        entries = jnp.einsum(form, q, table.astype(q.dtype), preferred_element_type=wide)
        logits = logits + entries.reshape(*entries.shape[:-1], *(n if i == axis else 1 for i in range(len(space))))
    positions = math.prod(space)
    return jax.nn.softmax(logits.reshape(batch, heads, positions, positions), axis=-1)


def attend(weights: Float[Array, "B K N N"], v: Float[Array, "B *space K E"]) -> Float[Array, "B *space F"]:
    """Each head's weighted sums of its values, the heads side by side."""
    batch, *space, heads, _ = v.shape
    flat = v.reshape(batch, -1, heads, v.shape[-1])
    return jnp.einsum("bhnm,bmhe->bnhe", weights.astype(v.dtype), flat).reshape(batch, *space, -1)


def average_down(x: Float[Array, "B *space C"], strides: int) -> Float[Array, "B *out C"]:
    """Means of windows of `strides` positions a side; what reaches over the end counts what lies inside."""
    if strides == 1:
        return x
    space = x.shape[1:-1]
    y = avg_pool(jnp.pad(x, [(0, 0), *((0, -n % strides) for n in space), (0, 0)]), window=strides, strides=strides)
    for axis, n in enumerate(space, start=1):
        if n % strides:
            inside = np.minimum(strides, n - strides * np.arange(y.shape[axis])) / strides
            y = y / inside.reshape([-1 if i == axis else 1 for i in range(y.ndim)]).astype(y.dtype)
    return y
