"""Coordinate Attention for Efficient Mobile Network Design, arXiv 2103.02907.

As the authors' code: at least 8 hidden channels, biased layers. Their MobileNetV2 has it behind the depthwise
convolution; here it stands where others do, behind the branch's last normalisation. The paper's two strips are for
images; one strip for each spatial axis is our extension to volumes.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.layers import BatchNorm, reduced
from attn_jax.layers.initializers import kaiming_fan_out

LEAST_HIDDEN = 8


class Coordinate(Mechanism):
    """Scales each number by the product of gates, one for each spatial axis, that vary along their axis and by channel.

    The means over all other spatial axes make one strip per axis: two of an image, three of a volume, which the paper
    does not treat. All strips share a layer to fewer channels, with one batch normalisation and hard swish, and each
    has its own layer back.

    Sows the product of the gates, `"full"` [B, *space, C]. At initialisation each gate lies near one half: it about
    quarters an image, and leaves about an eighth of a volume.
    """

    usual_placement: ClassVar[str] = "block"

    reduction: int = 32
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer: dict[str, Any] = {"kernel_init": kaiming_fan_out, **types}
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        hidden = max(LEAST_HIDDEN, reduced(channels, self.reduction))

        shared = nn.Dense(hidden, name="shared", **layer)
        norm = BatchNorm(axis_name=self.axis_name, name="norm", **types)
        strips = norm.jointly([shared(strip(x, axis)) for axis in range(1, x.ndim - 1)], train=train)
        logits = [
            nn.Dense(channels, name=f"axis{axis}", **layer)(jax.nn.hard_swish(y))
            for axis, y in enumerate(strips, start=1)
        ]
        gate = across([jax.nn.sigmoid(line) for line in logits])
        return x * self.look("full", gate.astype(x.dtype))


def strip(x: Float[Array, "B *space C"], axis: int) -> Float[Array, "B N C"]:
    """The mean over all spatial axes but `axis`, summed in at least float32."""
    others = tuple(other for other in range(1, x.ndim - 1) if other != axis)
    return x.mean(others, dtype=jnp.promote_types(x.dtype, jnp.float32)).astype(x.dtype)


def across(gates: Sequence[Float[Array, "B _ C"]]) -> Float[Array, "B *space C"]:
    """The product of one gate per spatial axis, each the same along all other axes."""
    axes = range(1, len(gates) + 1)
    facing = [jnp.expand_dims(gate, [other for other in axes if other != axis]) for axis, gate in enumerate(gates, 1)]
    return functools.reduce(jnp.multiply, facing)
