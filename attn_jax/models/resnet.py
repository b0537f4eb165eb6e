"""Deep Residual Learning for Image Recognition, arXiv 1512.03385, as torchvision builds it, and its descendants.

That is "v1.5": a bottleneck's stride stands in its 3 x 3 convolution, not in its first 1 x 1. ResNeXt
(arXiv 1611.05431) and Wide ResNet (arXiv 1605.07146) are torchvision's too; ResNet-D (arXiv 1812.01187) is timm's.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, avg_pool, global_average, max_pool
from attn_jax.layers.initializers import torch_bias, torch_uniform
from attn_jax.models.slot import RESNET_STRIDES, Slot


class Block(nn.Module):
    """A residual block: `x` (projected where the shape changes) plus a branch of convolutions, then ReLU.

    A basic block has two 3 x 3 convolutions; a bottleneck has 1 x 1, 3 x 3 (`width` channels in `groups`) and 1 x 1.
    The first 3 x 3 carries the stride and is the one that a mechanism may replace. With `pooled_shortcut` the shortcut
    takes means of windows of 2 before its projection, in place of a stride.
    """

    width: int
    features: int
    stage: int
    strides: int = 1
    bottleneck: bool = False
    groups: int = 1
    pooled_shortcut: bool = False
    attention: Slot = Slot()
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def norm(y: Array, name: str) -> Array:
            return BatchNorm(axis_name=self.axis_name, name=name, **types)(y, train=train)

        def replaceable(y: Array, conv_name: str, norm_name: str) -> Array:
            if self.attention.takes("conv", self.stage):
                shape = {"features": self.width, "strides": self.strides}
                module = self.attention.make(self, "attention", axis_name=self.axis_name, **shape, **types)
                y = module(y, train=train)
                return y if self.attention.normalises else nn.relu(norm(y, norm_name))
            conv = Conv(self.width, 3, self.strides, groups=self.groups, name=conv_name, **types)
            return nn.relu(norm(conv(y), norm_name))

        if self.bottleneck:
            y = nn.relu(norm(Conv(self.width, 1, name="conv1", **types)(x), "norm1"))
            y = replaceable(y, "conv2", "norm2")
            y = norm(Conv(self.features, 1, name="conv3", **types)(y), "norm3")
        else:
            y = replaceable(x, "conv1", "norm1")
            y = norm(Conv(self.features, 3, name="conv2", **types)(y), "norm2")
        if self.attention.takes("block", self.stage):
            y = self.attention.make(self, "attention", axis_name=self.axis_name, **types)(y, train=train)
        if x.shape[-1] != self.features or self.strides != 1:
            strides = self.strides
            if self.pooled_shortcut and strides != 1:
                x, strides = _halved(x), 1
            x = norm(Conv(self.features, 1, strides, name="shortcut_conv", **types)(x), "shortcut_norm")
        return nn.relu(x + y)


def _halved(x: Float[Array, "B *space C"]) -> Float[Array, "B *half C"]:
    """Means of windows of 2; a last window that reaches over the edge has the mean of what is inside."""
    odd = [(0, size % 2) for size in x.shape[1:-1]]
    return avg_pool(jnp.pad(x, ((0, 0), *odd, (0, 0)), mode="edge"), window=2, strides=2)


class ResNet(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    Attributes:
        blocks: number of residual blocks in each of the four stages.
        bottleneck: which of the two kinds of block.
        groups: of a bottleneck's 3 x 3 convolution (ResNeXt's cardinality).
        base_width: channels of each of these groups in a network of 64 (ResNeXt, Wide ResNet).
        deep: three 3 x 3 convolutions in place of the first one, and shortcuts that pool (ResNet-D).
        stem: `"imagenet"` (7 x 7 convolution of stride 2, then max-pooling) or, for small images, `"small"` (3 x 3 of
            stride 1, no pooling).
        width: multiplies every number of channels; 1 is the paper's.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    blocks: tuple[int, int, int, int]
    bottleneck: bool
    groups: int = 1
    base_width: int = 64
    deep: bool = False
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
        """Where torchvision and timm keep what stands at `path` here."""
        return torch_name(path, _DEEP_TORCH_NAMES if self.deep else _TORCH_NAMES)

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        width = max(1, round(64 * self.width))
        large = self.stem == "imagenet"
        stem = [(width, 7 if large else 3, 2 if large else 1, "")]
        if self.deep:
            half = max(1, width // 2)
            stem = [(half, 3, 2 if large else 1, ""), (half, 3, 1, "2"), (width, 3, 1, "3")]
        for features, window, strides, number in stem:
            x = Conv(features, window, strides, name=f"stem_conv{number}", **types)(x)
            x = nn.relu(BatchNorm(name=f"stem_norm{number}", **shared)(x, train=train))
        if large:
            x = max_pool(x, window=3, strides=2, padding=1)
        for stage, count in enumerate(self.blocks, start=1):
            planes = width * 2 ** (stage - 1)
            for block in range(1, count + 1):
                x = Block(
                    self.groups * max(1, round(planes * self.base_width / 64)),
                    planes * (4 if self.bottleneck else 1),
                    stage,
                    strides=2 if stage > 1 and block == 1 else 1,
                    bottleneck=self.bottleneck,
                    groups=self.groups,
                    pooled_shortcut=self.deep,
                    attention=self.attention,
                    name=f"stage{stage}_block{block}",
                    **shared,
                )(x, train=train)
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = global_average(x)
        start: dict[str, Any] = {"kernel_init": torch_uniform, "bias_init": torch_bias(x.shape[-1])}
        return nn.Dense(self.num_classes, name="head", **start, **types)(x)


_TORCH_NAMES = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "norm1": "bn1",
    "norm2": "bn2",
    "norm3": "bn3",
    "shortcut_conv": "downsample.0",
    "shortcut_norm": "downsample.1",
    "head": "fc",
}
_DEEP_TORCH_NAMES = _TORCH_NAMES | {
    "stem_conv": "conv1.0",
    "stem_norm": "conv1.1",
    "stem_conv2": "conv1.3",
    "stem_norm2": "conv1.4",
    "stem_conv3": "conv1.6",
    "stem_norm3": "bn1",
    "shortcut_conv": "downsample.1",
    "shortcut_norm": "downsample.2",
}


def torch_name(path: str, names: Mapping[str, str] = _TORCH_NAMES) -> str:
    """Where torchvision and timm keep what stands at `path` here: `"stage1_block1/norm1"` is their `"layer1.0.bn1"`."""
    outer, *inner = path.split("/")
    if block := re.fullmatch(r"stage(\d)_block(\d+)", outer):
        inner[:1] = [names.get(name, name) for name in inner[:1]]
        outer = f"layer{block[1]}.{int(block[2]) - 1}"
    return ".".join([names.get(outer, outer), *inner])
