"""Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks, arXiv 2105.02358.

This is the whole block of the authors' segmentation network. The paper has two memories; the authors' code makes the
second the transpose of the first, which is the default. `tied=False` is the paper's.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm
from attn_jax.layers.initializers import kaiming_fan_out


class External(Mechanism):
    """Replaces each position by a mixture of learned memory entries, normalises, adds the input and applies ReLU.

    Sows the weights of the mixtures, `"token"` [B, 1, N, S]: of the N positions, in row-major order, over the S =
    `memory` entries. At initialisation, in evaluation, what is added is below a tenth of a usual input and this is
    about the ReLU of its input; in training the normalisation brings what is added to a variance of one.

    Raises:
        UserError: `memory` is less than 1.
    """

    usual_placement: ClassVar[str] = "block"

    memory: int = 64
    tied: bool = True
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise UserError(f"attention 'external': memory={self.memory!r} is no number of entries; the authors' is 64")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        y = nn.Dense(channels, kernel_init=kaiming_fan_out, name="conv1", **types)(x)
        shape = (self.memory, channels)
        keys = self.param("keys", kaiming_fan_out, shape, self.param_dtype)
        values = keys if self.tied else self.param("values", kaiming_fan_out, shape, self.param_dtype)
        y, keys, values = nn.dtypes.promote_dtype(y, keys, values, dtype=self.dtype)

        weights = memory_weights(y, keys)
        seen = self.look("token", weights.reshape(x.shape[0], 1, -1, self.memory))
        y = jnp.dot(seen.reshape(weights.shape).astype(values.dtype), values)
        y = nn.Dense(channels, use_bias=False, kernel_init=kaiming_fan_out, name="conv2", **types)(y)
        y = BatchNorm(axis_name=self.axis_name, name="norm", **types)(y, train=train)
        return nn.relu(x + y.astype(x.dtype))


def memory_weights(positions: Float[Array, "B *space C"], keys: Float[Array, "S C"]) -> Float[Array, "B *space S"]:
    """The positions' products with the keys, softmax over positions, then divided by their sum over the entries.

    In at least float32.
    """
    wide = jnp.promote_types(positions.dtype, jnp.float32)
    logits = jnp.einsum("b...c,sc->b...s", positions, keys, preferred_element_type=wide)
    weights = jax.nn.softmax(logits, axis=tuple(range(1, logits.ndim - 1)))
    return weights / (1e-9 + weights.sum(-1, keepdims=True))
