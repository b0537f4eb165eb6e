"""Learned tables over positions: stored for the size a network was initialised at, interpolated at any other."""

from collections.abc import Sequence

from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers.resize import resize_linear


def position_table(
    module: nn.Module,
    name: str,
    init: nn.initializers.Initializer,
    size: Sequence[int],
    channels: int,
    param_dtype: DTypeLike,
) -> Float[Array, "*size C"]:
    """The parameter `name` [*size, channels] of `module`, which runs inside a compact method.

    The first call (`init`) stores it at the `size` of that call; at another size the stored one is interpolated
    linearly as by `resize_linear`: both cover the same extent, and beyond the centres of the outermost entries these
    hold.
    """
    table: Array
    if module.has_variable("params", name):
        table = module.get_variable("params", name)
    else:
        table = module.param(name, init, (*size, channels), param_dtype)
    return table if table.shape[:-1] == tuple(size) else resize_linear(table[None], size)[0]
