"""Linear interpolation, and sums over windows, as one small matrix along each axis of space."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def between_cells(positions: Float[Array, "n"], cells: int) -> Float[Array, "n {cells}"]:
    """What each of a row of `cells` values contributes at `positions`, counted in cells from the first one's centre.

    Beyond the ends it is the end's value; each row sums to 1.
    """
    positions = jnp.clip(positions, 0, cells - 1)
    return jnp.maximum(0, 1 - jnp.abs(positions[:, None] - jnp.arange(cells)))


def along_axes(
    values: Float[Array, "B *cells"], matrices: Sequence[Float[Array, "_n _cells"]]
) -> Float[Array, "B *space"]:
    """`values` with every axis but the first multiplied by its matrix."""
    for axis, matrix in enumerate(matrices, 1):
        values = jnp.moveaxis(jnp.tensordot(values, matrix, ((axis,), (1,)), precision="highest"), -1, axis)
    return values
