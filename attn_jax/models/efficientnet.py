"""EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946: B0, and its Lite form.

B0 is torchvision's. Lite0 is that of Google's `efficientnet/lite`, as the package `efficientnet-lite-pytorch` and timm
build it: no squeeze-and-excitation, ReLU6 for SiLU, and TensorFlow's padding and batch normalisation.
"""

import re
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, Dropout, global_average
from attn_jax.models.mobilenet import InvertedResidual, Top, norm_options, rounded, same_padding
from attn_jax.models.slot import Slot


class EfficientNet(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    B0's own squeeze-and-excitation gates are part of the network: they stay whatever mechanism it gets.

    Attributes:
        lite: Lite0 instead of B0.
        stem: `"imagenet"` (3 x 3 convolution of stride 2) or, for small images, `"small"` (of stride 1).
        width: multiplies the channels, which are rounded to multiples of 8; Lite keeps its first 32 and last 1280.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    lite: bool = False
    attention: Slot = Slot()
    stem: Literal["imagenet", "small"] = "imagenet"
    width: float = 1.0
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    STEMS: ClassVar[tuple[str, ...]] = ("imagenet", "small")
    STRIDES: ClassVar[tuple[int, ...]] = (2, 4, 8, 16, 16, 32, 32)
    # Of each stage: expansion, window, channels, blocks, strides of the first.
    TABLE: ClassVar[tuple[tuple[int, int, int, int, int], ...]] = (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
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
        """Where torchvision keeps what stands at `path` here, or `efficientnet-lite-pytorch` for Lite0."""
        outer, *inner = path.split("/")
        names = _LITE_NAMES if self.lite else _NAMES
        if not (block := re.fullmatch(r"stage(\d)_block(\d+)", outer)):
            return names.get(path, path.replace("/", "."))
        stage, number = int(block[1]), int(block[2]) - 1
        if self.lite:
            outer = f"_blocks.{sum(blocks for *_, blocks, _ in self.TABLE[: stage - 1]) + number}"
            return ".".join([outer, *(_LITE_BLOCK_NAMES.get(name, name) for name in inner[:1]), *inner[1:]])
        names = _FIRST_BLOCK_NAMES if stage == 1 else _BLOCK_NAMES
        return ".".join([f"features.{stage}.{number}", *(names.get(name, name) for name in inner[:1]), *inner[1:]])

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        activation = nn.relu6 if self.lite else nn.silu
        kind: dict[str, Any] = {"activation": activation, "tensorflow": self.lite}

        strides = 2 if self.stem == "imagenet" else 1
        padding = same_padding(x.shape[1:-1], 3, strides) if self.lite else None
        channels = 32 if self.lite else rounded(32 * self.width)
        x = Conv(channels, 3, strides, padding, name="stem_conv", **types)(x)
        x = activation(BatchNorm(name="stem_norm", **norm_options(self.lite), **shared)(x, train=train))
        total, done = sum(blocks for *_, blocks, _ in self.TABLE), 0
        for stage, (expansion, window, channels, blocks, strides) in enumerate(self.TABLE, start=1):
            for block in range(1, blocks + 1):
                x = InvertedResidual(
                    rounded(channels * self.width),
                    expansion * x.shape[-1],
                    stage,
                    window,
                    strides if block == 1 else 1,
                    squeeze=0 if self.lite else x.shape[-1] // 4,
                    drop_path=0.2 * done / total,
                    attention=self.attention,
                    name=f"stage{stage}_block{block}",
                    **kind,
                    **shared,
                )(x, train=train)
                done += 1
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
        x = Top(1280 if self.lite else 4 * x.shape[-1], name="top", **kind, **shared)(x, train=train)
        x = Dropout(0.2, self.axis_name, name="dropout")(global_average(x), train=train)
        # The authors' deviation is 0.4 for two classes: logits of 10 that a short fine-tuning does not get rid of.
        return nn.Dense(self.num_classes, kernel_init=initializers.normal(0.01), name="head", **types)(x)


_NAMES = {
    "stem_conv": "features.0.0",
    "stem_norm": "features.0.1",
    "top/conv": "features.8.0",
    "top/norm": "features.8.1",
    "head": "classifier.1",
}
_BLOCK_NAMES = {
    "expand_conv": "block.0.0",
    "expand_norm": "block.0.1",
    "depthwise_conv": "block.1.0",
    "depthwise_norm": "block.1.1",
    "squeeze_fc1": "block.2.fc1",
    "squeeze_fc2": "block.2.fc2",
    "project_conv": "block.3.0",
    "project_norm": "block.3.1",
}
_FIRST_BLOCK_NAMES = {
    "depthwise_conv": "block.0.0",
    "depthwise_norm": "block.0.1",
    "squeeze_fc1": "block.1.fc1",
    "squeeze_fc2": "block.1.fc2",
    "project_conv": "block.2.0",
    "project_norm": "block.2.1",
}
_LITE_NAMES = {
    "stem_conv": "_conv_stem",
    "stem_norm": "_bn0",
    "top/conv": "_conv_head",
    "top/norm": "_bn1",
    "head": "_fc",
}
_LITE_BLOCK_NAMES = {
    "expand_conv": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project_conv": "_project_conv",
    "project_norm": "_bn2",
}
