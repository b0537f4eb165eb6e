"""Attention Augmented Convolutional Networks, arXiv 1904.09925.

The layers have no biases here: a normalisation follows. The paper does not say how channels that the heads do not
divide are rounded: down, as public implementations do, which gives the parameters that it reports (25.8 M for
ResNet-50, 45.4 M for ResNet-101).
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.mhsa import attend, attention, position_tables
from attn_jax.errors import UserError
from attn_jax.layers import Conv
from attn_jax.layers.initializers import torch_uniform


class AA(Mechanism):
    """Replaces a convolution by a narrower one beside attention to all positions, by content and relative position.

    About the share `upsilon` of the channels, the last ones, comes from attention; queries and keys are about `kappa`
    of the channels wide, at least `min_depth` a head. Queries, keys and values are taken at the output's positions.
    Where that share is less than one channel a head, there are fewer heads. Tables of distances as in `MHSA`. Sows the
    attention, `"token"` [B, heads, N, N]. At initialisation about the share `1 - upsilon` is a plain convolution.
    """

    usual_placement: ClassVar[str] = "conv"
    usual_stages: ClassVar[tuple[int, ...]] = (2, 3, 4)

    features: int | None = None
    strides: int = 1
    kernel_size: int = 3
    heads: int = 8
    kappa: float = 0.2
    upsilon: float = 0.1
    min_depth: int = 20
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field, value in (("heads", self.heads), ("min_depth", self.min_depth)):
            if value < 1:
                raise UserError(f"attention 'aa': {field}={value!r} must be at least 1")
        for field, share in (("kappa", self.kappa), ("upsilon", self.upsilon)):
            if not 0 < share <= 1:
                raise UserError(f"attention 'aa': {field}={share!r} is a share of the channels, above 0 and at most 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense: dict[str, Any] = {"use_bias": False, "kernel_init": torch_uniform, **types}
        features = self.features or x.shape[-1]
        heads = min(self.heads, max(1, whole(self.upsilon * features)))
        depth = max(self.min_depth, whole(self.kappa * features / heads))
        attended = heads * max(1, whole(self.upsilon * features / heads))

        picked = x[(slice(None), *(slice(None, None, self.strides) for _ in x.shape[1:-1]))]
        space, keys = picked.shape[1:-1], heads * depth
        qkv = nn.Dense(2 * keys + attended, name="qkv", **dense)(picked)
        parts = jnp.split(qkv, (keys, 2 * keys), axis=-1)
        q, k, v = (part.reshape(*part.shape[:-1], heads, -1) for part in parts)
        tables = position_tables(self, space, depth, self.param_dtype)
        weights = self.look("token", attention(q * depth**-0.5, k, tables), (*space, *space))
        y = nn.Dense(attended, name="out", **dense)(attend(weights, v))
        if features > attended:
            conv = Conv(features - attended, self.kernel_size, self.strides, name="conv", **types)
            y = jnp.concatenate([conv(x), y], axis=-1)
        return y.astype(self.dtype or x.dtype)


def whole(number: float) -> int:
    """Rounded down, where a product of fractions that is a whole number but for its rounding counts as whole."""
    return int(round(number, 6))
