"""FcaNet: Frequency Channel Attention Networks, arXiv 2012.11879.

The authors' ResNets have a grid for each stage, that of its map for images of 224 pixels: 56, 28, 14 and 7 a side. Here
the grid follows the map (see `FCA`), which comes to the same for 224 to 416 pixels; `grid` sets one as theirs.
"""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import adaptive_average, largest_divisor, over_space, reduced
from attn_jax.layers.initializers import torch_uniform

FREQUENCIES = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
)
"""Down and across, on a grid of 7 x 7: the 16 that served the authors best on ImageNet, the best first."""


class FCA(Mechanism):
    """Scales each channel by a gate computed, without biases, from one DCT coefficient of every channel.

    The channels fall into 16 equal parts (or the largest number below that divides them), one frequency to a part. The
    map is averaged onto a grid, whose sides are 7 times the largest power of two that fits the map's, at least 7, or
    `grid`, a multiple of 7; on a grid of 7k the frequencies are k times those of 7. 2-D only: the frequencies were
    chosen among those of images.

    Sows the gates, `"channel"` [B, C]. At initialisation they lie around one half: it about halves its input.

    Raises:
        UserError: `grid` is no multiple of 7, or the input is not 2-D.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    grid: int | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.grid is not None and (self.grid < 7 or self.grid % 7):
            raise UserError(f"attention 'fca': grid={self.grid!r} is not a multiple of 7; None follows the map's size")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        if x.ndim != 4:
            raise UserError(f"attention 'fca' is 2-D only: its input is [B, H, W, C], not of shape {x.shape}")
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        layer: dict[str, Any] = {"use_bias": False, "kernel_init": torch_uniform}
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        y = coefficients(x, self.grid).astype(x.dtype)
        y = nn.relu(nn.Dense(reduced(channels, self.reduction), name="fc1", **layer, **types)(y))
        y = nn.Dense(channels, name="fc2", **layer, **types)(y)
        gate = self.look("channel", jax.nn.sigmoid(y))
        return x * over_space(gate, x)


def coefficients(x: Float[Array, "B H W C"], grid: int | None) -> Float[Array, "B C"]:
    """Each channel's coefficient at the frequency of its part, in at least float32."""
    parts = largest_divisor(x.shape[-1], len(FREQUENCIES))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(*x.shape[:-1], parts, -1)
    for axis, frequencies in enumerate(zip(*FREQUENCIES[:parts], strict=True), start=1):
        weights = axis_weights(x.shape[axis], grid or fitting_grid(x.shape[axis]), frequencies)
        shape = [x.shape[i] if i == axis else 1 for i in range(3)]
        wide = wide * weights.reshape(*shape, parts, 1).astype(wide.dtype)
    return wide.sum((1, 2)).reshape(x.shape[0], -1)


def fitting_grid(size: int) -> int:
    """7 times the largest power of two with which that is not above `size`; at least 7."""
    return 7 << max(size // 7, 1).bit_length() - 1


def axis_weights(size: int, grid: int, frequencies: tuple[int, ...]) -> np.ndarray:
    """What each of `size` positions counts for each frequency [size, F]: averaged onto `grid`, then orthonormal DCT."""
    cells = np.arange(grid)
    true = np.array(frequencies)[:, None] * (grid // 7)
    waves = np.cos(math.pi * true * (cells + 0.5) / grid) * np.where(true == 0, 1, math.sqrt(2)) / math.sqrt(grid)
    return (waves @ adaptive_average(size, grid)).T
