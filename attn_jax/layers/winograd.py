"""3 x 3 convolutions of stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3), arXiv 1509.09308.

Output tiles of 2 x 2 cost 16 products instead of 36: the input's overlapping 4 x 4 tiles, the kernel and the output go
through small linear maps, and between them stand 16 matrix products over the channels. In float32 the result differs
from the plain convolution by about 1e-6 of its largest number. On a CPU (jax 0.10.2, two cores, batch 16) 64 channels
on 56 x 56 take 24 ms instead of 38, 256 channels on 14 x 14 take 12 instead of 19.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Rows of the maps B^T (input), G (kernel) and A^T (output).
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

Matrix = tuple[tuple[float, ...], ...]
Padding = tuple[tuple[int, int], ...]


def convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C F"], padding: Padding
) -> Float[Array, "B outH outW F"]:
    """The convolution of `x`, padded with zeros before and after each axis."""
    return _from_tiles(x, _kernel_tiles(kernel), 0, padding)


def input_gradient(
    kernel: Float[Array, "3 3 C F"], dy: Float[Array, "B outH outW F"], padding: Padding
) -> Float[Array, "B H W C"]:
    """What `dy` means for the input: its convolution with the kernel turned around."""
    turned = tuple((2 - low, 2 - high) for low, high in padding)
    return _from_tiles(dy, _kernel_tiles(kernel[::-1, ::-1]), 1, turned)


def _from_tiles(x: Array, kernels: list[list[Array]], axis: int, padding: Padding) -> Array:
    """The convolution with transformed kernels, over whose `axis` the channels of `x` are summed."""
    size = _out(x.shape, padding)
    over = (((3,), (axis,)), ((), ()))
    products = [
        [lax.dot_general(tile, kernel, over) for tile, kernel in zip(*row, strict=True)]
        for row in zip(_input_tiles(x, padding), kernels, strict=True)
    ]
    columns = [_combine(OUTPUT, row) for row in lax.optimization_barrier(products)]
    rows = [_combine(OUTPUT, list(parts)) for parts in zip(*columns, strict=True)]
    y = jnp.stack([jnp.stack(parts, axis=3) for parts in zip(*rows, strict=True)], axis=2)
    batch, tall, _, wide, _, features = y.shape
    return y.reshape(batch, 2 * tall, 2 * wide, features)[:, : size[0], : size[1]]


def _input_tiles(x: Array, padding: Padding) -> list[list[Array]]:
    """B^T d B of every 4 x 4 tile: 4 x 4 arrays [B, tiles down, tiles across, C]."""
    (tall, wide), edges = ((n + 1) // 2 for n in _out(x.shape, padding)), []
    for length, count, (low, _) in zip(x.shape[1:3], (tall, wide), padding, strict=True):
        edges.append((low, 2 * count + 2 - low - length))
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in edges), (0, 0, 0)])
    # Without the barriers XLA computes each row again for each of the four tiles made of it.
    rows = lax.optimization_barrier(_combine(INPUT, [x[:, i : i + 2 * tall - 1 : 2] for i in range(4)]))
    tiles = [_combine(INPUT, [row[:, :, j : j + 2 * wide - 1 : 2] for j in range(4)]) for row in rows]
    return lax.optimization_barrier(tiles)


def _kernel_tiles(kernel: Array) -> list[list[Array]]:
    """G g G^T: 4 x 4 arrays [C, F]."""
    return [_combine(KERNEL, [row[j] for j in range(3)]) for row in _combine(KERNEL, [kernel[i] for i in range(3)])]


def _combine(matrix: Matrix, parts: list[Array]) -> list[Array]:
    """Each row of `matrix` as weights for the sum of `parts`."""
    return [_weighted_sum(row, parts) for row in matrix]


def _weighted_sum(weights: tuple[float, ...], parts: list[Array]) -> Array:
    terms = [part if weight == 1 else part * weight for weight, part in zip(weights, parts, strict=True) if weight]
    return jax.tree.reduce(jnp.add, terms)


def _out(shape: tuple[int, ...], padding: Padding) -> tuple[int, int]:
    height, width = (n + sum(pad) - 2 for n, pad in zip(shape[1:3], padding, strict=True))
    return height, width
