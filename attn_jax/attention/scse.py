"""Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, arXiv 1803.02579.

The authors' code takes the larger of the two results where the paper adds them. Its channel gate has half as many
hidden units as channels; here, for networks of many channels, a sixteenth.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import GateMLP, channel_dot, global_average, over_space
from attn_jax.layers.initializers import torch_uniform


class SCSE(Mechanism):
    """Scales channels (`cse`) and positions (`sse`) of the same input and fuses the two results.

    `fusion="max"`, as the authors' code, keeps the larger number of each pair, `"add"`, as the paper, their sum. Sows
    both gates, `"channel"` [B, C] and `"spatial"` [B, *space]. At initialisation they lie around one half: `"max"`
    about halves its input, `"add"` about keeps it.

    Raises:
        UserError: `fusion` is neither `"max"` nor `"add"`.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 16
    fusion: str = "max"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.fusion not in ("max", "add"):
            raise UserError(f"attention 'scse': fusion={self.fusion!r} is neither 'max' nor 'add'")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        mlp = GateMLP(self.reduction, name="mlp", **types)
        channel = self.look("channel", jax.nn.sigmoid(mlp(global_average(x))))
        logits = nn.Dense(1, kernel_init=torch_uniform, dot_general=channel_dot, name="fc", **types)(x)
        spatial = self.look("spatial", jax.nn.sigmoid(logits)[..., 0])
        by_channel, by_position = x * over_space(channel, x), x * spatial[..., None].astype(x.dtype)
        return by_channel + by_position if self.fusion == "add" else larger(by_channel, by_position)


def larger(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The larger of each pair; the gradient goes to `a` where they are equal.

    `jnp.maximum` looks in its gradient for the side that equals the result, and finds none where XLA has rounded the
    one that it computed again otherwise.
    """
    return jnp.where(a >= b, a, b)
