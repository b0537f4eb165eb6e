"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381, as torchvision builds it."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, Dropout, DropPath, global_average, over_space
from attn_jax.layers.initializers import kaiming_fan_in, kaiming_fan_out
from attn_jax.models.slot import Slot

Activation = Callable[[Array], Array]


class InvertedResidual(nn.Module):
    """1 x 1 convolution to `hidden` channels, depthwise convolution, 1 x 1 to `features` without an activation.

    The input is added where its shape is kept. The first convolution is missing where `hidden` is the input's number of
    channels. The depthwise convolution is the one that a mechanism may replace; in placement `"block"` the mechanism
    follows the last normalisation, also where nothing is added.

    Attributes:
        features: channels of the output.
        hidden: channels inside.
        stage: number of the stage.
        window: of the depthwise convolution.
        strides: of the depthwise convolution.
        squeeze: hidden channels of a squeeze-and-excitation gate behind the depthwise convolution; 0 has none.
        activation: after all convolutions but the last.
        tensorflow: see `tensorflow_norm` and `same_padding`; depthwise kernels then start by the size of their window
            (torchvision counts all channels as their outgoing connections, which makes them smaller).
        drop_path: probability of losing the branch in training.
    """

    features: int
    hidden: int
    stage: int
    window: int = 3
    strides: int = 1
    squeeze: int = 0
    activation: Activation = nn.relu6
    tensorflow: bool = False
    drop_path: float = 0.0
    attention: Slot = Slot()
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *out F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}

        def norm(y: Array, name: str) -> Array:
            return BatchNorm(name=name, **norm_options(self.tensorflow), **shared)(y, train=train)

        def gate(y: Array) -> Array:
            pooled = over_space(global_average(y), y)
            squeezed = self.activation(Conv(self.squeeze, 1, use_bias=True, name="squeeze_fc1", **types)(pooled))
            return nn.sigmoid(Conv(self.hidden, 1, use_bias=True, name="squeeze_fc2", **types)(squeezed))

        y = x
        if self.hidden != x.shape[-1]:
            y = self.activation(norm(Conv(self.hidden, 1, name="expand_conv", **types)(y), "expand_norm"))
        if self.attention.takes("conv", self.stage):
            shape = {"features": self.hidden, "strides": self.strides}
            y = self.attention.make(self, "attention", **shape, **shared)(y, train=train)
        else:
            y = Conv(
                self.hidden,
                self.window,
                self.strides,
                padding=same_padding(y.shape[1:-1], self.window, self.strides) if self.tensorflow else None,
                groups=self.hidden,
                kernel_init=kaiming_fan_in if self.tensorflow else kaiming_fan_out,
                name="depthwise_conv",
                **types,
            )(y)
        if not (self.attention.takes("conv", self.stage) and self.attention.normalises):
            y = self.activation(norm(y, "depthwise_norm"))
        if self.squeeze:
            y = y * gate(y)
        y = norm(Conv(self.features, 1, name="project_conv", **types)(y), "project_norm")
        if self.attention.takes("block", self.stage):
            y = self.attention.make(self, "attention", **shared)(y, train=train)
        if self.strides != 1 or self.features != x.shape[-1]:
            return y
        return x + DropPath(self.drop_path, self.axis_name, name="drop_path")(y, train=train)


class Top(nn.Module):
    """The last 1 x 1 convolution, normalised and activated: what the head averages over space."""

    features: int
    activation: Activation = nn.relu6
    tensorflow: bool = False
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = Conv(self.features, 1, name="conv", **types)(x)
        norm = BatchNorm(axis_name=self.axis_name, name="norm", **norm_options(self.tensorflow), **types)
        return self.activation(norm(x, train=train))


class MobileNetV2(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    Attributes:
        stem: `"imagenet"` (3 x 3 convolution of stride 2) or, for small images, `"small"` (of stride 1).
        width: multiplies the channels, which are rounded to multiples of 8; the 1280 of the last convolution only grow,
            as in the paper.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    attention: Slot = Slot()
    stem: Literal["imagenet", "small"] = "imagenet"
    width: float = 1.0
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    STEMS: ClassVar[tuple[str, ...]] = ("imagenet", "small")
    STRIDES: ClassVar[tuple[int, ...]] = (2, 4, 8, 16, 16, 32, 32)
    # Of each stage: expansion, channels, blocks, strides of the first.
    TABLE: ClassVar[tuple[tuple[int, int, int, int], ...]] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages that may get a mechanism."""
        return tuple(range(1, len(self.TABLE) + 1))

    @property
    def feature_layer(self) -> str:
        """Path of the module whose output class activation maps are drawn from: the last convolution."""
        return "top"

    def torch_name(self, path: str) -> str:
        """Where torchvision keeps what stands at `path` here."""
        outer, *inner = path.split("/")
        if block := re.fullmatch(r"stage(\d)_block(\d+)", outer):
            stage, number = int(block[1]), int(block[2])
            before = sum(blocks for _, _, blocks, _ in self.TABLE[: stage - 1])
            names = _BLOCK_NAMES if self.TABLE[stage - 1][0] > 1 else _FIRST_BLOCK_NAMES
            return ".".join([f"features.{before + number}", *(names.get(name, name) for name in inner[:1]), *inner[1:]])
        return _NAMES.get(path, path.replace("/", "."))

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        strides = 2 if self.stem == "imagenet" else 1
        x = Conv(rounded(32 * self.width), 3, strides, name="stem_conv", **types)(x)
        x = nn.relu6(BatchNorm(name="stem_norm", **shared)(x, train=train))
        for stage, (expansion, channels, blocks, strides) in enumerate(self.TABLE, start=1):
            for block in range(1, blocks + 1):
                x = InvertedResidual(
                    rounded(channels * self.width),
                    expansion * x.shape[-1],
                    stage,
                    strides=strides if block == 1 else 1,
                    attention=self.attention,
                    name=f"stage{stage}_block{block}",
                    **shared,
                )(x, train=train)
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = Top(rounded(1280 * max(1, self.width)), name="top", **shared)(x, train=train)
        x = Dropout(0.2, self.axis_name, name="dropout")(global_average(x), train=train)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name="head", **types)(x)


def rounded(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, at least 8 and never below nine tenths of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def norm_options(tensorflow: bool) -> dict[str, Any]:
    """Fields of `BatchNorm`: TensorFlow's epsilon, or PyTorch's defaults.

    Not TensorFlow's momentum (nor does timm take it): with 0.99 a short fine-tuning is evaluated by old statistics.
    """
    return {"epsilon": 1e-3} if tensorflow else {}


def same_padding(sizes: tuple[int, ...], window: int, strides: int) -> tuple[tuple[int, int], ...]:
    """TensorFlow's `"SAME"`: zeros such that `ceil(size / strides)` windows fit, the odd one after the axis."""
    totals = [max((-(-size // strides) - 1) * strides + window - size, 0) for size in sizes]
    return tuple((total // 2, total - total // 2) for total in totals)


_NAMES = {
    "stem_conv": "features.0.0",
    "stem_norm": "features.0.1",
    "top/conv": "features.18.0",
    "top/norm": "features.18.1",
    "head": "classifier.1",
}
_BLOCK_NAMES = {
    "expand_conv": "conv.0.0",
    "expand_norm": "conv.0.1",
    "depthwise_conv": "conv.1.0",
    "depthwise_norm": "conv.1.1",
    "project_conv": "conv.2",
    "project_norm": "conv.3",
}
_FIRST_BLOCK_NAMES = {
    "depthwise_conv": "conv.0.0",
    "depthwise_norm": "conv.0.1",
    "project_conv": "conv.1",
    "project_norm": "conv.2",
}
