"""Weights that need no file: each a hash of its name in PyTorch and its place in PyTorch's layout (NumPy only)."""

import math
import zlib

import numpy as np


def u01(n: int, salt: int) -> np.ndarray:
    """`n` numbers in [0, 1), the same everywhere: `u01(3, 0)` is `[0, 0.19197247, 0.40099446]`."""
    h = (np.arange(n, dtype=np.uint64) + salt).astype(np.uint32)
    for _ in range(2):
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x45D9F3B)
    h ^= h >> np.uint32(16)
    return h / 2.0**32


def signed(shape: tuple[int, ...], salt: int) -> np.ndarray:
    """An array of numbers in [-1, 1)."""
    return (2 * u01(math.prod(shape), salt) - 1).reshape(shape)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of the parameter or statistic `name`; a weight of one axis is a normalisation's scale."""
    v = signed(shape, zlib.crc32(name.encode()))
    leaf = name.rpartition(".")[2]
    if leaf == "weight":
        return 1 + 0.2 * v if len(shape) == 1 else v * math.sqrt(6 * shape[0] / v.size)
    return 1.25 + 0.25 * v if leaf == "running_var" else 0.1 * v


KEPT = 96
"""Numbers of a golden array that are stored."""


def sampled(array: np.ndarray) -> np.ndarray:
    """At most `KEPT` of the array's numbers, in flat order with one stride that meets every axis."""
    flat = np.asarray(array).ravel()
    stride = max(1, math.ceil(flat.size / KEPT))
    while stride > 1 and math.gcd(stride, flat.size) > 1:
        stride += 1
    return flat[::stride]
