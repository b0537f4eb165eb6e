"""Resizing of feature maps in a form that a spatially partitioned program computes without gathering them.

Where one size is no multiple of the other, an axis is cut into as many blocks as divide both, which are all alike: a
device that holds whole blocks needs no more than the positions beside them.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def resize_nearest(x: Float[Array, "B *space C"], size: Sequence[int]) -> Float[Array, "B *out C"]:
    """Each output position takes the input position that it falls into, as PyTorch's `mode="nearest"`."""
    for axis, wanted in enumerate(size, start=1):
        length = x.shape[axis]
        if wanted % length == 0:
            x = _interleave([x] * (wanted // length), axis)
        else:
            blocks = math.gcd(length, wanted)
            ours, theirs = length // blocks, wanted // blocks
            x = _joined(jnp.take(_cut(x, axis, blocks), np.arange(theirs) * ours // theirs, axis + 1), axis)
    return x


def resize_linear(x: Float[Array, "B *space C"], size: Sequence[int]) -> Float[Array, "B *out C"]:
    """Linear interpolation between pixel centres at halves, as PyTorch's `align_corners=False`; no antialiasing."""
    for axis, wanted in enumerate(size, start=1):
        length = x.shape[axis]
        if wanted == length:
            continue
        factor = wanted // length
        if length == 1 or wanted % length == 0:
            x = _interleave([_between(x, axis, (phase + 0.5) / factor - 0.5) for phase in range(factor)], axis)
        else:
            x = _resize_blocks(x, axis, math.gcd(length, wanted), wanted)
    return x


def _resize_blocks(x: Array, axis: int, blocks: int, wanted: int) -> Array:
    """The same along an axis where every one of equal blocks, with a position more on both sides, gives as many."""
    inside = _cut(x, axis, blocks)
    before, after = (_cut(_neighbour(x, axis, step), axis, blocks) for step in (-1, 1))
    size = inside.shape[axis + 1]
    first, last = (lax.slice_in_dim(part, i, i + 1, axis=axis + 1) for part, i in ((before, 0), (after, size - 1)))
    windows = jnp.concatenate([first, inside, last], axis + 1)
    places = (np.arange(wanted // blocks) + 0.5) * x.shape[axis] / wanted + 0.5
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size + 2)))
    return _joined(jnp.moveaxis(jnp.tensordot(weights.astype(x.dtype), windows, (1, axis + 1)), 0, axis + 1), axis)


def _between(x: Array, axis: int, offset: float) -> Array:
    """The values `offset` (within one half) beside each position, the ends repeated."""
    if x.shape[axis] == 1 or offset == 0:
        return x
    return x * (1 - abs(offset)) + _neighbour(x, axis, 1 if offset > 0 else -1) * abs(offset)


def _neighbour(x: Array, axis: int, step: int) -> Array:
    """For each position the one before (`step=-1`) or after it (1), for the last one itself."""
    length = x.shape[axis]
    inner = [slice(None)] * x.ndim
    inner[axis] = slice(max(step, 0), length + min(step, 0))
    pad = [(0, 0)] * x.ndim
    pad[axis] = (max(-step, 0), max(step, 0))
    neighbour = jnp.pad(x[tuple(inner)], pad)
    ends = np.arange(length) == (length - 1 if step > 0 else 0)
    ends = ends.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return jnp.where(ends, x, neighbour)


def _cut(x: Array, axis: int, blocks: int) -> Array:
    """`axis` in two, blocks and positions in a block."""
    return x.reshape(*x.shape[:axis], blocks, -1, *x.shape[axis + 1 :])


def _joined(x: Array, axis: int) -> Array:
    """`axis` and the one after it as one."""
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _interleave(parts: list[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)
