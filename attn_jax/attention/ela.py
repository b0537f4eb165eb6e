"""ELA: Efficient Local Attention for Deep Convolutional Neural Networks, arXiv 2403.01123.

By default as timm's `ela`, which differs from the authors' code: each axis has a convolution and a normalisation (one
group) of its own, and SiLU stands before the sigmoid. `form="authors"` is the authors' ELA-B. Strips generalise to any
number of axes; beyond two that is our extension.
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
from attn_jax.layers import Conv, GroupNorm, largest_divisor
from attn_jax.layers.initializers import torch_uniform


class ELA(Mechanism):
    """Scales each position by one gate per axis, computed from the means of the lines across that axis.

    Sows the product of the gates, `"full"` [B, *space, C]. At initialisation a gate is 0.55 on average (`"authors"`:
    0.5): about 0.3 (a quarter) of an image is left.

    Attributes:
        kernel_size: of the depthwise convolutions along the strips.
        form: `"timm"`, or `"authors"` for one convolution and one normalisation (16 groups) that all axes share, and no
            SiLU.

    Raises:
        UserError: an even `kernel_size`, an unknown `form`.
    """

    usual_placement: ClassVar[str] = "block"

    kernel_size: int = 7
    form: str = "timm"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.form not in ("timm", "authors"):
            raise UserError(f"attention 'ela': form={self.form!r} is neither 'timm' nor 'authors'")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        x = x.astype(self.dtype or x.dtype)
        channels = x.shape[-1]
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        depthwise: dict[str, Any] = {"groups": channels, "kernel_init": torch_uniform, **types}

        def local(suffix: str, groups: int) -> nn.Sequential:
            conv = Conv(channels, self.kernel_size, name=f"conv{suffix}", **depthwise)
            return nn.Sequential([conv, GroupNorm(groups, name=f"norm{suffix}", **types)])

        strips = {axis: strip(x, axis) for axis in range(1, x.ndim - 1)}
        if self.form == "authors":
            shared = local("", largest_divisor(channels, 16))
            logits = [shared(line) for line in strips.values()]
        else:
            logits = [jax.nn.silu(local(str(axis), 1)(line)) for axis, line in strips.items()]
        gate = across([jax.nn.sigmoid(line) for line in logits])
        return x * self.look("full", gate).astype(x.dtype)
