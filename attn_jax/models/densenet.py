"""Densely Connected Convolutional Networks, arXiv 1608.06993, as torchvision builds them (DenseNet-BC)."""

import re
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, avg_pool, global_average, max_pool
from attn_jax.layers.initializers import kaiming_fan_in, torch_uniform
from attn_jax.models.slot import RESNET_STRIDES, Slot


class DenseLayer(nn.Module):
    """The `growth` new channels of a dense layer: norm, ReLU, 1 x 1 convolution, norm, ReLU, 3 x 3 convolution."""

    growth: int
    stage: int
    attention: Slot = Slot()
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        y = nn.relu(BatchNorm(name="norm1", **shared)(x, train=train))
        y = Conv(4 * self.growth, 1, kernel_init=kaiming_fan_in, name="conv1", **types)(y)
        y = nn.relu(BatchNorm(name="norm2", **shared)(y, train=train))
        if self.attention.takes("conv", self.stage):
            shape = {"features": self.growth, "strides": 1}
            return self.attention.make(self, "attention", **shape, **shared)(y, train=train)
        y = Conv(self.growth, 3, kernel_init=kaiming_fan_in, name="conv2", **types)(y)
        if self.attention.takes("block", self.stage):
            y = self.attention.make(self, "attention", **shared)(y, train=train)
        return y


class DenseNet(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    A stage is a dense block, whose layers each see the channels of all before them. Placements: `"block"` is a layer's
    new channels, before they join the others; `"stage"` all channels behind a dense block, before the transition that
    halves them; `"conv"` replaces a layer's 3 x 3 convolution.

    Attributes:
        layers: number of layers in each of the four dense blocks.
        stem: `"imagenet"` (7 x 7 convolution of stride 2, then max-pooling) or, for small images, `"small"` (3 x 3 of
            stride 1, no pooling).
        width: multiplies the stem's 64 channels and the 32 of each layer.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    layers: tuple[int, int, int, int] = (6, 12, 24, 16)
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
        return tuple(range(1, len(self.layers) + 1))

    @property
    def feature_layer(self) -> str:
        """Path of the module whose output class activation maps are drawn from: the last normalisation."""
        return "final_norm"

    def torch_name(self, path: str) -> str:
        """Where torchvision keeps what stands at `path` here."""
        outer, *inner = path.split("/")
        if layer := re.fullmatch(r"stage(\d)_layer(\d+)", outer):
            outer = f"features.denseblock{layer[1]}.denselayer{layer[2]}"
        elif transition := re.fullmatch(r"transition(\d)_(norm|conv)", outer):
            outer = f"features.transition{transition[1]}.{transition[2]}"
        return ".".join([_TORCH_NAMES.get(outer, outer), *inner])

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        large = self.stem == "imagenet"
        width, growth = (max(1, round(channels * self.width)) for channels in (64, 32))

        x = Conv(width, 7 if large else 3, 2 if large else 1, kernel_init=kaiming_fan_in, name="stem_conv", **types)(x)
        x = nn.relu(BatchNorm(name="stem_norm", **shared)(x, train=train))
        if large:
            x = max_pool(x, window=3, strides=2, padding=1)
        for stage, count in enumerate(self.layers, start=1):
            if stage > 1:
                x = nn.relu(BatchNorm(name=f"transition{stage - 1}_norm", **shared)(x, train=train))
                half = max(1, x.shape[-1] // 2)
                x = Conv(half, 1, kernel_init=kaiming_fan_in, name=f"transition{stage - 1}_conv", **types)(x)
                x = _halved(x)
            for layer in range(1, count + 1):
                dense = DenseLayer(growth, stage, self.attention, name=f"stage{stage}_layer{layer}", **shared)
                x = jnp.concatenate([x, dense(x, train=train)], axis=-1)
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = nn.relu(BatchNorm(name="final_norm", **shared)(x, train=train))
        return nn.Dense(self.num_classes, kernel_init=torch_uniform, name="head", **types)(global_average(x))


def _halved(x: Float[Array, "B *space C"]) -> Float[Array, "B *half C"]:
    """Means of windows of 2; the odd position at an edge is left out, but for an axis of one position."""
    window = tuple(min(2, size) for size in x.shape[1:-1])
    return avg_pool(x, window=window, strides=window)


_TORCH_NAMES = {
    "stem_conv": "features.conv0",
    "stem_norm": "features.norm0",
    "final_norm": "features.norm5",
    "head": "classifier",
}
