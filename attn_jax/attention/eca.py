"""ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks, arXiv 1910.03151.

The window follows the number of channels by the paper's rule. The authors' code takes it as an argument, 3 by default;
their released ResNet-50 has 3, 5, 5 and 7 in its stages, for which the rule gives 5, 5, 5 and 7.
"""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import Conv, global_average, over_space
from attn_jax.layers.initializers import torch_uniform


class ECA(Mechanism):
    """Scales each channel by a gate computed from its own mean and those of its neighbours.

    One window slides along the channels, whose order thereby matters; beyond both ends lie zeros. `kernel_size` is its
    odd width, None for the paper's rule, `window`. Sows the gates, `"channel"` [B, C]. At initialisation they lie near
    one half: it about halves its input.

    Raises:
        UserError: `kernel_size` is even or less than 1.
    """

    usual_placement: ClassVar[str] = "block"

    kernel_size: int | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = Conv(1, self.kernel_size or window(x.shape[-1]), kernel_init=torch_uniform, name="conv", **types)
        gate = self.look("channel", jax.nn.sigmoid(conv(global_average(x)[..., None])[..., 0]))
        return x * over_space(gate, x)


def window(channels: int) -> int:
    """The odd number nearest to (log2(channels) + 1) / 2, but at least 3."""
    return max(3, 2 * int((math.log2(channels) + 1) / 4) + 1)
