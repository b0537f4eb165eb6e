"""Efficient Multi-Scale Attention Module with Cross-Spatial Learning, arXiv 2305.13563.

The authors' code wants channels that 32 divides; here the largest divisor up to 32 takes its place. Strips and the
3 x 3 window generalise to any number of axes; beyond two that is our extension.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.coordinate import across, strip
from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import Conv, GroupNorm, global_average, largest_divisor
from attn_jax.layers.initializers import torch_uniform


class EMA(Mechanism):
    """Scales the positions of each group of channels by one gate, crossed from a branch of strips and a 3 x 3 branch.

    All groups share their weights. The mean of a normalised map is its bias, so the query that the strip branch asks of
    the 3 x 3 branch is the softmax of a parameter, the same for every image, as in the authors' code. Sows the gates,
    repeated over the channels of their group, `"full"` [B, *space, C]. At initialisation they lie near one half: it
    about halves its input.

    Raises:
        UserError: `factor` is less than 1.
    """

    usual_placement: ClassVar[str] = "block"

    factor: int = 32
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise UserError(f"attention 'ema': factor={self.factor!r} is the number of groups, at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        groups = largest_divisor(x.shape[-1], self.factor)
        grouped = split_groups(x, groups)
        width = grouped.shape[-1]

        dense = nn.Dense(width, kernel_init=torch_uniform, name="conv1x1", **types)
        lines = across([jax.nn.sigmoid(dense(strip(grouped, axis))) for axis in range(1, x.ndim - 1)])
        first = GroupNorm(width, name="norm", **types)(grouped * lines)
        second = Conv(width, 3, use_bias=True, kernel_init=torch_uniform, name="conv3x3", **types)(grouped)

        gate = jax.nn.sigmoid(ask(first, second) + ask(second, first))
        gate = jnp.moveaxis(gate.reshape(-1, groups, *gate.shape[1:]), 1, -1)
        return x * self.look("full", jnp.repeat(gate, width, -1)).astype(x.dtype)


def split_groups(x: Float[Array, "B *space C"], groups: int) -> Float[Array, "BG *space c"]:
    """Groups of consecutive channels, as images of their own."""
    split = jnp.moveaxis(x.reshape(*x.shape[:-1], groups, -1), -2, 1)
    return split.reshape(-1, *split.shape[2:])


def ask(query: Float[Array, "N *space c"], values: Float[Array, "N *space c"]) -> Float[Array, "N *space"]:
    """`values` weighted over channels by the softmax of the means of `query`, in at least float32."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    return weigh(jax.nn.softmax(global_average(query).astype(wide)), values)


def weigh(weights: Float[Array, "N c"], values: Float[Array, "N *space c"]) -> Float[Array, "N *space"]:
    """The weighted sum over channels, in the type of `weights`."""
    return jnp.einsum("nc,n...c->n...", weights, values, preferred_element_type=weights.dtype)
