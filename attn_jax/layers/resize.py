"""Resizing of feature maps in a form that a spatially partitioned program computes without gathering them."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def resize_nearest(x: Float[Array, "B *space C"], size: Sequence[int]) -> Float[Array, "B *out C"]:
    """Each output position takes the input position that it falls into, as PyTorch's `mode="nearest"`."""
    for axis, wanted in enumerate(size, start=1):
        length = x.shape[axis]
        if wanted % length == 0:
            x = _interleave([x] * (wanted // length), axis)
        else:
            x = jnp.take(x, np.arange(wanted) * length // wanted, axis)
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
            x = jnp.moveaxis(jnp.tensordot(linear_weights(length, wanted).astype(x.dtype), x, (1, axis)), 0, axis)
    return x


def linear_weights(length: int, wanted: int) -> np.ndarray:
    """The matrix [wanted, length] that interpolates `length` values linearly at `wanted` places."""
    places = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(length)))


def _between(x: Array, axis: int, offset: float) -> Array:
    """The values `offset` (within one half) beside each position, the ends repeated."""
    if x.shape[axis] == 1 or offset == 0:
        return x
    length, step = x.shape[axis], 1 if offset > 0 else -1
    inner = [slice(None)] * x.ndim
    inner[axis] = slice(max(step, 0), length + min(step, 0))
    pad = [(0, 0)] * x.ndim
    pad[axis] = (max(-step, 0), max(step, 0))
    neighbour = jnp.pad(x[tuple(inner)], pad)
    ends = np.arange(length) == (length - 1 if step > 0 else 0)
    ends = ends.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    neighbour = jnp.where(ends, x, neighbour)
    return x * (1 - abs(offset)) + neighbour * abs(offset)


def _interleave(parts: list[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)
