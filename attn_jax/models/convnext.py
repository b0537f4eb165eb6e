"""A ConvNet for the 2020s, arXiv 2201.03545, as torchvision builds it."""

import re
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.errors import UserError
from attn_jax.layers import Conv, DropPath, global_average
from attn_jax.models.slot import RESNET_STRIDES, Slot

normal = nn.initializers.normal(0.02)
"""The authors cut it off at plus and minus 2, a hundred standard deviations."""


class Block(nn.Module):
    """`x` plus a depthwise 7 x 7 convolution, LayerNorm and a perceptron of four times the channels, scaled by channel.

    A mechanism in placement `"block"` stands behind the perceptron and before the layer scale: that starts at 1e-6, and
    behind it there would be nothing for a mechanism to measure. In placement `"conv"` it replaces the 7 x 7.

    The parameter `layer_scale` has torchvision's shape [C, 1, 1]; weight decay reaches it, as there (not the authors').
    """

    stage: int
    drop_path: float = 0.0
    attention: Slot = Slot()
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        channels = x.shape[-1]
        if replaced := self.attention.takes("conv", self.stage):
            y = self.attention.make(self, "attention", features=channels, strides=1, **shared)(x, train=train)
        else:
            y = Conv(channels, 7, groups=channels, use_bias=True, kernel_init=normal, name="conv", **types)(x)
        if not (replaced and self.attention.normalises):
            y = layer_norm("norm", types)(y)
        y = nn.gelu(nn.Dense(4 * channels, kernel_init=normal, name="fc1", **types)(y), approximate=False)
        y = nn.Dense(channels, kernel_init=normal, name="fc2", **types)(y)
        if self.attention.takes("block", self.stage):
            y = self.attention.make(self, "attention", **shared)(y, train=train)
        scale = self.param("layer_scale", nn.initializers.constant(1e-6), (channels, 1, 1), self.param_dtype)
        y = y * scale[:, 0, 0].astype(y.dtype)
        return x + DropPath(self.drop_path, self.axis_name, name="drop_path")(y, train=train)


class ConvNeXt(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    Attributes:
        blocks: number of residual blocks in each of the four stages.
        drop_path: probability of losing the last block's branch in training; it grows evenly from 0 in the first.
        stem: `"imagenet"` (4 x 4 convolution of stride 4) or, for small images, `"small"` (3 x 3 of stride 1).
        width: multiplies every number of channels; 1 is the paper's.
        axis_name: the mapped axis, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters stay in `param_dtype`.

    Raises:
        UserError: an image of fewer pixels than one position of the last stage stands for.
    """

    num_classes: int
    blocks: tuple[int, int, int, int] = (3, 3, 9, 3)
    drop_path: float = 0.1
    attention: Slot = Slot()
    stem: Literal["imagenet", "small"] = "imagenet"
    width: float = 1.0
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    STEMS: ClassVar[tuple[str, ...]] = ("imagenet", "small")
    STRIDES: ClassVar[tuple[int, ...]] = RESNET_STRIDES

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages that may get a mechanism."""
        return tuple(range(1, len(self.blocks) + 1))

    @property
    def feature_layer(self) -> str:
        """Path of the module whose output class activation maps are drawn from: the last block."""
        return f"stage4_block{self.blocks[3]}"

    def torch_name(self, path: str) -> str:
        """Where torchvision keeps what stands at `path` here."""
        outer, *inner = path.split("/")
        if block := re.fullmatch(r"stage(\d)_block(\d+)", outer):
            outer = f"features.{2 * int(block[1]) - 1}.{int(block[2]) - 1}"
            return ".".join([outer, *(_BLOCK_NAMES.get(name, name) for name in inner[:1]), *inner[1:]])
        return _NAMES.get(path, path.replace("/", "."))

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        start: dict[str, Any] = {"use_bias": True, "kernel_init": normal, **types}
        least = 32 if self.stem == "imagenet" else 8
        if min(x.shape[1:-1]) < least:
            raise UserError(f"model 'convnext': stem={self.stem!r} needs images of at least {least} pixels a side")

        width = max(1, round(96 * self.width))
        window, strides, padding = (4, 4, 0) if self.stem == "imagenet" else (3, 1, 1)
        x = Conv(width, window, strides, padding, name="stem_conv", **start)(x)
        x = layer_norm("stem_norm", types)(x)
        total, done = sum(self.blocks), 0
        for stage, count in enumerate(self.blocks, start=1):
            if stage > 1:
                x = layer_norm(f"stage{stage}_norm", types)(x)
                x = Conv(width * 2 ** (stage - 1), 2, 2, 0, name=f"stage{stage}_conv", **start)(x)
            for block in range(1, count + 1):
                x = Block(
                    stage,
                    self.drop_path * done / (total - 1),
                    attention=self.attention,
                    name=f"stage{stage}_block{block}",
                    **shared,
                )(x, train=train)
                done += 1
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = layer_norm("head_norm", types)(global_average(x))
        return nn.Dense(self.num_classes, kernel_init=normal, name="head", **types)(x)


def layer_norm(name: str, types: dict[str, Any]) -> nn.LayerNorm:
    """LayerNorm over the channels of each position."""
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name, **types)


_NAMES = {
    "stem_conv": "features.0.0",
    "stem_norm": "features.0.1",
    "stage2_norm": "features.2.0",
    "stage2_conv": "features.2.1",
    "stage3_norm": "features.4.0",
    "stage3_conv": "features.4.1",
    "stage4_norm": "features.6.0",
    "stage4_conv": "features.6.1",
    "head_norm": "classifier.0",
    "head": "classifier.2",
}
_BLOCK_NAMES = {"conv": "block.0", "norm": "block.2", "fc1": "block.3", "fc2": "block.5"}
