"""Selective Kernel Networks, arXiv 1903.06586.

As in the authors' code, a window of 5 is one of 3 with dilation 2; the gate's layers have no biases.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import BatchNorm, Conv, global_average, largest_divisor, over_space, reduced
from attn_jax.layers.initializers import torch_uniform


class SK(Mechanism):
    """Replaces a 3 x 3 convolution: branches with growing receptive fields, mixed by one softmax per channel.

    Branch m (of `branches`, the paper's M) is a grouped 3 x 3 convolution with dilation m, normalisation and ReLU. The
    weights come from the means of the branches' sum through `max(features // reduction, min_hidden)` units (the paper's
    r and L). Sows the weights, `"branch"` [B, M, C]. At initialisation they lie near 1 / M: about the branches' mean.
    """

    usual_placement: ClassVar[str] = "conv"
    normalised: ClassVar[bool] = True

    features: int | None = None
    strides: int = 1
    branches: int = 2
    groups: int = 32
    reduction: int = 16
    min_hidden: int = 32
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for field, value in (("branches", self.branches), ("groups", self.groups), ("min_hidden", self.min_hidden)):
            if value < 1:
                raise UserError(f"attention 'sk': {field}={value!r} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        features = self.features or x.shape[-1]
        groups = largest_divisor(math.gcd(x.shape[-1], features), self.groups)

        def normalise(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(axis_name=self.axis_name, name=name, **types)(y, train=train))

        outputs = []
        for m in range(1, self.branches + 1):
            conv = Conv(features, 3, self.strides, dilation=m, groups=groups, name=f"conv{m}", **types)
            outputs.append(normalise(conv(x), f"norm{m}"))
        pooled = jnp.stack([global_average(output) for output in outputs]).sum(0)
        dense: dict[str, Any] = {"use_bias": False, "kernel_init": torch_uniform, **types}
        hidden = max(reduced(features, self.reduction), self.min_hidden)
        z = normalise(nn.Dense(hidden, name="fc1", **dense)(pooled), "norm")
        logits = nn.Dense(self.branches * features, name="fc2", **dense)(z)
        weights = self.look("branch", branch_softmax(logits.reshape(-1, self.branches, features)))
        return mix(outputs, weights).astype(self.dtype or x.dtype)


def branch_softmax(logits: Float[Array, "B M C"]) -> Float[Array, "B M C"]:
    """Each channel's softmax over the branches, in at least float32."""
    return jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=1)


def mix(branches: Sequence[Float[Array, "B *space C"]], weights: Float[Array, "B M C"]) -> Float[Array, "B *space C"]:
    """The sum of the M branches, each weighted channel by channel."""
    terms = (branch * over_space(weights[:, m], branch) for m, branch in enumerate(branches))
    return functools.reduce(jnp.add, terms)
