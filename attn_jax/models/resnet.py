"""Deep Residual Learning for Image Recognition, arXiv 1512.03385, as torchvision builds it.

That is "v1.5": a bottleneck's stride stands in its 3 x 3 convolution, not in its first 1 x 1.
"""

import re
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, global_average, max_pool
from attn_jax.layers.initializers import torch_bias, torch_uniform
from attn_jax.models.slot import Slot


class Block(nn.Module):
    """A residual block: `x` (projected where the shape changes) plus a branch of convolutions, then ReLU.

    A basic block has two 3 x 3 convolutions; a bottleneck (`expansion=4`) has 1 x 1, 3 x 3 and 1 x 1. The first 3 x 3
    carries the stride and is the one that a mechanism may replace.
    """

    width: int
    stage: int
    strides: int = 1
    bottleneck: bool = False
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
            return nn.relu(norm(Conv(self.width, 3, self.strides, name=conv_name, **types)(y), norm_name))

        features = self.width * (4 if self.bottleneck else 1)
        if self.bottleneck:
            y = nn.relu(norm(Conv(self.width, 1, name="conv1", **types)(x), "norm1"))
            y = replaceable(y, "conv2", "norm2")
            y = norm(Conv(features, 1, name="conv3", **types)(y), "norm3")
        else:
            y = replaceable(x, "conv1", "norm1")
            y = norm(Conv(features, 3, name="conv2", **types)(y), "norm2")
        if self.attention.takes("block", self.stage):
            y = self.attention.make(self, "attention", axis_name=self.axis_name, **types)(y, train=train)
        if x.shape[-1] != features or self.strides != 1:
            x = norm(Conv(features, 1, self.strides, name="shortcut_conv", **types)(x), "shortcut_norm")
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    Attributes:
        blocks: number of residual blocks in each of the four stages.
        stem: `"imagenet"` (7 x 7 convolution of stride 2, then max-pooling) or, for small images, `"small"` (3 x 3 of
            stride 1, no pooling).
        width: multiplies every number of channels; 1 is the paper's.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    blocks: tuple[int, int, int, int]
    bottleneck: bool
    attention: Slot = Slot()
    stem: Literal["imagenet", "small"] = "imagenet"
    width: float = 1.0
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    STEMS: ClassVar[tuple[str, ...]] = ("imagenet", "small")

    @property
    def feature_layer(self) -> str:
        """Path of the module whose output class activation maps are drawn from: the last block."""
        return f"stage4_block{self.blocks[3]}"

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        width = max(1, round(64 * self.width))
        window, strides = (7, 2) if self.stem == "imagenet" else (3, 1)
        x = Conv(width, window, strides, name="stem_conv", **types)(x)
        x = nn.relu(BatchNorm(name="stem_norm", **shared)(x, train=train))
        if self.stem == "imagenet":
            x = max_pool(x, window=3, strides=2, padding=1)
        for stage, count in enumerate(self.blocks, start=1):
            for block in range(1, count + 1):
                x = Block(
                    width * 2 ** (stage - 1),
                    stage,
                    strides=2 if stage > 1 and block == 1 else 1,
                    bottleneck=self.bottleneck,
                    attention=self.attention,
                    name=f"stage{stage}_block{block}",
                    **shared,
                )(x, train=train)
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = global_average(x)
        start: dict[str, Any] = {"kernel_init": torch_uniform, "bias_init": torch_bias(x.shape[-1])}
        return nn.Dense(self.num_classes, name="head", **start, **types)(x)


def torch_name(path: str) -> str:
    """Where torchvision and timm keep what stands at `path` here: `"stage1_block1/norm1"` is their `"layer1.0.bn1"`."""
    outer, *inner = path.split("/")
    if block := re.fullmatch(r"stage(\d)_block(\d+)", outer):
        inner[:1] = [_TORCH_NAMES.get(name, name) for name in inner[:1]]
        outer = f"layer{block[1]}.{int(block[2]) - 1}"
    return ".".join([_TORCH_NAMES.get(outer, outer), *inner])


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
