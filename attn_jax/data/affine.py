"""Affine maps of images and volumes: matrices about the centre, and one linear resampling for all of them together."""

import itertools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rotation(angle: Float[Array, ""], axis: Float[Array, "3"] | None = None) -> Float[Array, "n n"]:
    """Matrix from output to source coordinates that turns an image by `angle` radians.

    Args:
        angle: counter-clockwise as an image [row, column] is shown, like `numpy.rot90`.
        axis: unit vector to turn a volume about; None for a plane image.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    if axis is None:
        return jnp.array([[cos, sin], [-sin, cos]])
    x, y, z = axis
    cross = jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return cos * jnp.eye(3, dtype=cos.dtype) + sin * cross + (1 - cos) * jnp.outer(axis, axis)


def about_centre(
    space: tuple[int, ...], linear: Float[Array, "n n"], shift: Float[Array, " n"]
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """(matrix, offset) for `resample`: keeps the centre of `space`, then moves by `shift` source pixels."""
    centre = (jnp.array(space, linear.dtype) - 1) / 2
    return linear, centre + shift - jnp.dot(linear, centre, precision="highest")


def resample(
    image: Float[Array, "*space C"], matrix: Float[Array, "n n"], offset: Float[Array, " n"]
) -> Float[Array, "*space C"]:
    """Output pixel o takes the value of the image at `matrix @ o + offset`, linearly interpolated.

    The same as `scipy.ndimage.affine_transform(..., order=1, mode="reflect")` on each channel. Outside its borders the
    image is mirrored: a constant would draw an edge that tells the angle, and repeating the last pixel draws streaks.

    One gather of whole pixels per corner; on XLA:CPU 5 times faster than `jax.scipy.ndimage.map_coordinates` channel by
    channel (64 x 64 x 3, batch 32: 2.1 against 10.4 ms).
    """
    *space, channels = image.shape
    dtype = jnp.promote_types(image.dtype, jnp.float32)
    flat = image.reshape(-1, channels)
    # Written out: a dot would run at the accelerator's low default precision, and nothing here needs it.
    grids = [jax.lax.broadcasted_iota(dtype, tuple(space), axis) for axis in range(len(space))]
    corner = jnp.zeros(space, jnp.int32)
    fractions, strides = [], []
    for axis, size in enumerate(space):
        at = sum((matrix[axis, k].astype(dtype) * grid for k, grid in enumerate(grids)), offset[axis].astype(dtype))
        at = size - jnp.abs(jnp.mod(at + 0.5, 2 * size) - size) - 0.5
        at = jnp.clip(at, 0, size - 1)
        below = jnp.clip(jnp.floor(at), 0, max(size - 2, 0))
        fractions.append((at - below)[..., None])
        strides.append(math.prod(space[axis + 1 :]))
        corner += below.astype(jnp.int32) * strides[-1]
    result = jnp.zeros((), dtype)
    for steps in itertools.product((0, 1), repeat=len(space)):
        weight = jnp.ones((), dtype)
        for step, fraction in zip(steps, fractions, strict=True):
            weight = weight * (fraction if step else 1 - fraction)
        ahead = sum(step * stride for step, stride in zip(steps, strides, strict=True))
        result = result + weight * jnp.take(flat, corner + ahead, axis=0, mode="clip")
    return result.astype(image.dtype)
