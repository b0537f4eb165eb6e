"""Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556, as torchvision builds them.

That is with batch normalisation, which the paper does not have.
"""

import re
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import BatchNorm, Conv, Dropout, adaptive_average, max_pool
from attn_jax.models.slot import Slot


class Block(nn.Module):
    """A 3 x 3 convolution (biased, although a norm follows), norm and ReLU."""

    features: int
    stage: int
    replaceable: bool = True
    attention: Slot = Slot()
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space F"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        if self.replaceable and self.attention.takes("conv", self.stage):
            shape = {"features": self.features, "strides": 1}
            x = self.attention.make(self, "attention", **shape, **shared)(x, train=train)
            if self.attention.normalises:
                return x
        else:
            x = Conv(self.features, 3, use_bias=True, name="conv", **types)(x)
        x = BatchNorm(name="norm", **shared)(x, train=train)
        if self.attention.takes("block", self.stage):
            x = self.attention.make(self, "attention", **shared)(x, train=train)
        return nn.relu(x)


class VGG(nn.Module):
    """Images `[B, H, W, C]` (or volumes, with one more axis) to logits `[B, num_classes]`.

    A stage is what lies between two max-poolings, which keep an axis of one position. Placements: `"block"` follows
    each convolution's norm, before the ReLU; `"stage"` the last ReLU of a stage, before the pooling; `"conv"` replaces
    every 3 x 3 convolution but the first.

    The features are averaged to 7 positions an axis and go through two hidden layers of 4096, which drop half of their
    values in training (rng `"dropout"`); most of the parameters are there, and a volume has seven times as many.

    Attributes:
        blocks: number of convolutions in each of the five stages.
        stem: `"imagenet"`, or `"small"`, for small images: no pooling after the first stage.
        width: multiplies every number of channels, the hidden layers' too.
        axis_name: the mapped axis over which batch normalisation averages, under `pmap`.
        dtype: what is computed in; None follows the images. Parameters and statistics stay in `param_dtype`.
    """

    num_classes: int
    blocks: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3)
    attention: Slot = Slot()
    stem: Literal["imagenet", "small"] = "imagenet"
    width: float = 1.0
    axis_name: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    STEMS: ClassVar[tuple[str, ...]] = ("imagenet", "small")
    STRIDES: ClassVar[tuple[int, ...]] = (1, 2, 4, 8, 16)

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages that may get a mechanism."""
        return tuple(range(1, len(self.blocks) + 1))

    @property
    def feature_layer(self) -> str:
        """Path of the module whose output class activation maps are drawn from: the last block."""
        return f"stage5_block{self.blocks[4]}"

    def torch_name(self, path: str) -> str:
        """Where torchvision keeps what stands at `path` here."""
        outer, *inner = path.split("/")
        block = re.fullmatch(r"stage(\d)_block(\d+)", "stage1_block1" if outer == "stem" else outer)
        if not block:
            return ".".join([_TORCH_NAMES.get(outer, outer), *inner])
        stage, number = int(block[1]), int(block[2])
        # In their flat list a block is three modules (convolution, norm, ReLU) and a pooling one.
        place = 3 * (sum(self.blocks[: stage - 1]) + number - 1) + stage - 1
        if inner[0] == "attention":
            return ".".join([f"features.{place}", *inner])
        return f"features.{place + (inner[0] == 'norm')}"

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B K"]:
        types: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared: dict[str, Any] = {"axis_name": self.axis_name, **types}
        for stage, count in enumerate(self.blocks, start=1):
            features = max(1, round(min(64 * 2 ** (stage - 1), 512) * self.width))
            for number in range(1, count + 1):
                first = (stage, number) == (1, 1)
                name = "stem" if first else f"stage{stage}_block{number}"
                x = Block(features, stage, not first, self.attention, name=name, **shared)(x, train=train)
            if self.attention.takes("stage", stage):
                x = self.attention.make(self, f"stage{stage}_attention", **shared)(x, train=train)
            if stage > 1 or self.stem == "imagenet":
                single = [(0, int(size == 1)) for size in x.shape[1:-1]]
                x = jnp.pad(x, ((0, 0), *single, (0, 0)), mode="edge")
                x = max_pool(x, window=2, strides=2, padding=0)
        # Channels first, as torchvision flattens them: its weights fit.
        x = jnp.moveaxis(average_to(x, 7), -1, 1).reshape(x.shape[0], -1)
        start: dict[str, Any] = {"kernel_init": nn.initializers.normal(0.01), **types}
        hidden = max(1, round(4096 * self.width))
        for number in (1, 2):
            x = nn.relu(nn.Dense(hidden, name=f"fc{number}", **start)(x))
            x = Dropout(0.5, self.axis_name, name=f"dropout{number}")(x, train=train)
        return nn.Dense(self.num_classes, name="head", **start)(x)


def average_to(x: Float[Array, "B *space C"], size: int) -> Float[Array, "B *size C"]:
    """Means of `size` windows an axis that cover it, sharing or repeating positions where it does not divide.

    That is PyTorch's `adaptive_avg_pool`; sums are in at least float32.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for axis, length in enumerate(x.shape[1:-1], start=1):
        means = jnp.asarray(adaptive_average(length, size), wide.dtype)
        wide = jnp.moveaxis(jnp.tensordot(means, wide, (1, axis)), 0, axis)
    return wide.astype(x.dtype)


_TORCH_NAMES = {"fc1": "classifier.0", "fc2": "classifier.3", "head": "classifier.6"}
