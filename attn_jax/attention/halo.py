"""Scaling Local Self-Attention for Parameter Efficient Visual Backbones, arXiv 2103.12731 (HaloNet).

There is no code by its authors. As in timm, what lies beyond the image is attended to as zeros, and the scale holds for
products with keys, not positions. A stride takes every second query, as in the paper; its distances are those between
the positions (timm counts one between neighbouring queries that are two apart).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.mhsa import by_distance
from attn_jax.errors import UserError
from attn_jax.layers import largest_divisor


class Halo(Mechanism):
    """Replaces a convolution with attention of each block of positions to itself and a halo around it.

    An axis is cut into blocks of `block_size` positions, the last filled up with zeros; one that is shorter is a single
    block. Each axis has a table of distances, shared by the heads: 2(block_size + 2 halo_size) - 1 as in timm, of which
    the first 2 halo_size are farther than any key lies before its query. `masked=True` attends to the image alone, not
    to zeros beyond it. Sows the attention, `"token"` [B, heads, N, M]: the queries of one block after another, filled
    up, by the M positions of each one's window. Not the identity at initialisation: it mixes a random projection of
    each window.
    """

    usual_placement: ClassVar[str] = "conv"

    features: int | None = None
    strides: int = 1
    heads: int = 8
    block_size: int = 8
    halo_size: int = 3
    masked: bool = False
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, value, least in (
            ("heads", self.heads, 1),
            ("block_size", self.block_size, 1),
            ("halo_size", self.halo_size, 0),
        ):
            if value < least:
                raise UserError(f"attention 'halo': {field}={value!r} must be at least {least}")
        if self.block_size % self.strides:
            raise UserError(
                f"attention 'halo': block_size={self.block_size} is not a multiple of {self.strides} strides"
            )

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense: dict[str, Any] = {"use_bias": False, "kernel_init": nn.initializers.lecun_normal(), **types}
        space = x.shape[1:-1]
        features = self.features or x.shape[-1]
        heads = largest_divisor(features, self.heads)
        depth = features // heads
        blocks = [min(self.block_size, n) for n in space]
        distances = 2 * (self.block_size + 2 * self.halo_size) - 1
        start = nn.initializers.normal(depth**-0.5)

        picked = x[(slice(None), *(slice(None, None, self.strides) for _ in space))]
        q = nn.Dense(features, name="q", **dense)(picked)
        kv = nn.Dense(2 * features, name="kv", **dense)(x)
        tables = []
        for axis, block in enumerate(blocks):
            table = self.param(f"position{axis}", start, (distances, depth), self.param_dtype)
            tables.append(by_distance(table, block)[:: self.strides, : block + 2 * self.halo_size])
        for axis, block in reversed(list(enumerate(blocks, start=1))):
            q = cut(q, axis, -(-block // self.strides))
            kv = windows(kv, axis, block, self.halo_size)
        q, kv = (part.reshape(*part.shape[:-1], heads, -1) for part in (q, kv))
        k, v = jnp.split(kv, 2, axis=-1)
        logits = window_logits(q, k, tables)
        placed = [placement(n, block, self.halo_size) for n, block in zip(space, blocks, strict=True)]
        if self.masked:
            logits = hide(logits, [place.any(-1) for place in placed])
        positions = math.prod(logits.shape[2 : 2 + 2 * len(space)])
        flat = logits.reshape(x.shape[0], heads, positions, -1)
        layout = functools.partial(lay_out, shape=logits.shape, placed=placed, queries=picked.shape[1:-1])
        weights = self.look("token", jax.nn.softmax(flat, axis=-1), layout)
        y = window_sums(weights.reshape(logits.shape), v)
        return y[(slice(None), *(slice(n) for n in picked.shape[1:-1]))].astype(self.dtype or x.dtype)


def cut(x: Float[Array, "B *space C"], axis: int, block: int) -> Float[Array, "B *blocks C"]:
    """`axis` in two, blocks and positions in a block, the last block filled up with zeros."""
    fill = [(0, -n % block if i == axis else 0) for i, n in enumerate(x.shape)]
    x = jnp.pad(x, fill)
    return x.reshape(*x.shape[:axis], -1, block, *x.shape[axis + 1 :])


def windows(x: Float[Array, "B *space C"], axis: int, block: int, halo: int) -> Float[Array, "B *windows C"]:
    """`axis` in two, blocks and positions in a block and `halo` further ones on each side, zeros beyond the ends."""
    reach = -(-halo // block)
    x = cut(x, axis, block)
    count = x.shape[axis]
    x = jnp.pad(x, [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)])
    near = [lax.slice_in_dim(x, i, i + count, axis=axis) for i in range(2 * reach + 1)]
    joined = jnp.concatenate(near, axis=axis + 1)
    return lax.slice_in_dim(joined, reach * block - halo, (reach + 1) * block + halo, axis=axis + 1)


def window_logits(
    q: Float[Array, "B *blocks K E"], k: Float[Array, "B *windows K E"], tables: Sequence[Float[Array, "n m E"]]
) -> Float[Array, "B K *logits"]:
    """Each query's scaled product with the keys of its window plus those with its places' entries, in at least float32.

    The axes of blocks come first, then those of positions in a block, then those of positions in a window.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    blocks, ours, theirs = _letters(len(tables))
    queries = f"n{_interleaved(blocks, ours)}he"
    form = f"{queries},n{_interleaved(blocks, theirs)}he->nh{blocks}{ours}{theirs}"
    logits = jnp.einsum(form, q * q.shape[-1] ** -0.5, k, preferred_element_type=wide)
    for axis, table in enumerate(tables):
        form = f"{queries},{ours[axis]}{theirs[axis]}e->nh{blocks}{ours}{theirs[axis]}"
        entries = jnp.einsum(form, q, table.astype(q.dtype), preferred_element_type=wide)
        keys = (-1 if i == axis else 1 for i in range(len(tables)))
        logits = logits + entries.reshape(*entries.shape[:-1], *keys)
    return logits


def hide(logits: Float[Array, "B K *logits"], visible: Sequence[np.ndarray]) -> Float[Array, "B K *logits"]:
    """As good as minus infinity where a window's position is not in the image: `visible` [blocks, window] per axis."""
    axes = len(visible)
    for axis, seen in enumerate(visible):
        places = (2 + axis, 2 + 2 * axes + axis)
        shape = [n if i in places else 1 for i, n in enumerate(logits.shape)]
        logits = jnp.where(seen.reshape(shape), logits, jnp.finfo(logits.dtype).min)
    return logits


def placement(length: int, block: int, halo: int) -> np.ndarray:
    """Where each position of each block's window lies on an axis, [blocks, window, length]: at one place or none."""
    places = np.arange(0, length, block)[:, None] + np.arange(-halo, block + halo)
    return places[..., None] == np.arange(length)


def window_sums(weights: Float[Array, "B K *logits"], v: Float[Array, "B *windows K E"]) -> Float[Array, "B *space F"]:
    """Each query's weighted sums of the values of its window, the blocks side by side and the heads too."""
    blocks, ours, theirs = _letters((v.ndim - 3) // 2)
    form = f"nh{blocks}{ours}{theirs},n{_interleaved(blocks, theirs)}he->n{_interleaved(blocks, ours)}he"
    y = jnp.einsum(form, weights.astype(v.dtype), v)
    space = (count * size for count, size in zip(y.shape[1:-2:2], y.shape[2:-2:2], strict=True))
    return y.reshape(y.shape[0], *space, -1)


def lay_out(
    weights: Float[Array, "B K N M"], shape: Sequence[int], placed: Sequence[np.ndarray], queries: Sequence[int]
) -> Float[Array, "B K *queries_and_space"]:
    """The attention of each query of the image to each of its positions; `shape` is that of the logits."""
    blocks, ours, theirs = _letters(len(placed))
    image = "rst"[: len(placed)]
    places = ",".join(map("".join, zip(blocks, theirs, image, strict=True)))
    form = f"nh{blocks}{ours}{theirs},{places}->nh{_interleaved(blocks, ours)}{image}"
    wide = jnp.einsum(form, weights.reshape(shape), *(place.astype(weights.dtype) for place in placed))
    filled = (count * size for count, size in zip(shape[2:], shape[2 + len(placed) :], strict=False))
    joined = wide.reshape(*wide.shape[:2], *list(filled)[: len(placed)], *wide.shape[-len(placed) :])
    return joined[(slice(None), slice(None), *map(slice, queries))]


def _letters(axes: int) -> tuple[str, str, str]:
    """For the axes of blocks, of positions in a block and of positions in a window."""
    return "abc"[:axes], "uvw"[:axes], "xyz"[:axes]


def _interleaved(blocks: str, positions: str) -> str:
    return "".join(map("".join, zip(blocks, positions, strict=True)))
