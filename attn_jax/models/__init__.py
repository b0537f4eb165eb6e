"""Networks, one family to a file, each with a slot for any attention mechanism.

model = models.create("resnet18", num_classes=2, attention="cbam", stem="small")
logits = model.apply(variables, images, train=False)

Every network has the fields that `create` fills, `STEMS` (what its field `stem` may be), `stages` (the numbers of those
that may get a mechanism), `STRIDES` (of the image after each of them, with the stem `"imagenet"`), `feature_layer` (the
module whose output class activation maps are drawn from) and `torch_name`, from a module's path to its name in PyTorch.
The path of its first convolution begins with `stem`, that of its last layer is `head`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from attn_jax.attention import create as create_attention
from attn_jax.errors import UserError, did_you_mean
from attn_jax.models.convnext import ConvNeXt
from attn_jax.models.densenet import DenseNet
from attn_jax.models.efficientnet import EfficientNet
from attn_jax.models.mobilenet import MobileNetV2
from attn_jax.models.resnet import ResNet
from attn_jax.models.slot import make_slot
from attn_jax.models.vgg import VGG

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(ResNet, blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet34": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet50": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True),
    "resnet101": partial(ResNet, blocks=(3, 4, 23, 3), bottleneck=True),
    "resnet50d": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True, deep=True),
    "resnext50": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True, groups=32, base_width=4),
    "wide_resnet50": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True, base_width=128),
    "densenet121": DenseNet,
    "vgg16_bn": VGG,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNet,
    "efficientnet_lite0": partial(EfficientNet, lite=True),
    "convnext_tiny": ConvNeXt,
}

__all__ = ["MODELS", "ConvNeXt", "DenseNet", "EfficientNet", "MobileNetV2", "ResNet", "VGG", "create"]


def create(
    name: str,
    *,
    num_classes: int,
    attention: str | Callable[..., nn.Module] | None = "none",
    attention_options: dict[str, Any] | None = None,
    placement: str | None = None,
    stages: Sequence[int] | None = (),
    identity_start: bool = False,
    stem: str = "imagenet",
    width: float = 1.0,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
) -> nn.Module:
    """Makes the network `name` with `attention` (see `attn_jax.attention.create`) in the places asked for.

    `placement` is `"block"`, `"stage"` or `"conv"`, `stages` are those that get it; None and `()` are what is usual for
    the mechanism. `identity_start` makes every mechanism begin as the identity (`slot.FromIdentity`), so that it does
    not disturb pretrained weights. The other arguments are the network's fields.

    Raises:
        UserError: an unknown name, option, placement, stage or stem, or a mechanism that does not fit the placement.
    """
    if name not in MODELS:
        raise UserError(f"model {name!r} is unknown.{did_you_mean(name, MODELS)}")
    network: Any = MODELS[name](
        num_classes=num_classes,
        stem=stem,
        width=width,
        dtype=dtype,
        param_dtype=param_dtype,
        axis_name=axis_name,
    )
    if stem not in network.STEMS:
        raise UserError(f"stem {stem!r} is unknown.{did_you_mean(stem, network.STEMS)}")
    if isinstance(stages, str) or not isinstance(stages, Iterable | None):
        raise UserError(f"stages={stages!r}: give a list of stages, such as (3, 4), or none for the usual ones")
    template = create_attention(attention, **(attention_options or {}))
    slot = make_slot(template, placement, tuple(stages or ()), network.STRIDES, identity_start)
    return network.clone(attention=slot)
