"""ResNeSt: Split-Attention Networks, arXiv 2004.08955, with one cardinal group as its published networks.

As in the authors' code, a stride is left to average pooling behind the attention; their further pooling without stride
in the first block of the first stage is not part of the mechanism.
"""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.sk import branch_softmax, mix
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, Conv, avg_pool, global_average, reduced
from attn_jax.layers.initializers import torch_uniform


class SplitAttention(Mechanism):
    """Replaces a 3 x 3 convolution: `radix` splits of a grouped convolution, mixed by one softmax per channel.

    The convolution, in `radix` groups, is normalised and rectified; the weights come from the means of the splits' sum
    through `max(radix * C // reduction, min_hidden)` units (a sigmoid where `radix=1`). Sows them, `"branch"` [B, M, C]
    with M splits. At initialisation they lie near 1 / M (one half at `radix=1`): about the splits' mean.
    """

    usual_placement: ClassVar[str] = "conv"
    normalised: ClassVar[bool] = True

    features: int | None = None
    strides: int = 1
    radix: int = 2
    reduction: int = 4
    min_hidden: int = 32
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field, value in (("radix", self.radix), ("min_hidden", self.min_hidden)):
            if value < 1:
                raise UserError(f"attention 'split': {field}={value!r} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        channels, radix = x.shape[-1], self.radix
        features = self.features or channels

        def normalise(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(axis_name=self.axis_name, name=name, **types)(y, train=train))

        groups = math.gcd(channels, radix)
        y = normalise(Conv(radix * features, 3, groups=groups, name="conv", **types)(x), "norm1")
        pooled = global_average(y).reshape(-1, radix, features).sum(1)
        hidden = max(reduced(radix * channels, self.reduction), self.min_hidden)
        dense: dict[str, Any] = {"kernel_init": torch_uniform, **types}
        z = normalise(nn.Dense(hidden, name="fc1", **dense)(pooled), "norm2")
        logits = nn.Dense(radix * features, name="fc2", **dense)(z).reshape(-1, radix, features)
        weights = self.look("branch", branch_softmax(logits) if radix > 1 else jax.nn.sigmoid(logits))
        y = mix(jnp.split(y, radix, axis=-1), weights)
        if self.strides > 1:
            y = avg_pool(y, window=3, strides=self.strides, padding=1, count_padding=True)
        return y.astype(self.dtype or x.dtype)
