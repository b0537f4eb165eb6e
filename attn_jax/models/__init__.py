"""Networks, one family to a file, each with a slot for any attention mechanism.

model = models.create("resnet18", num_classes=2, attention="cbam", stem="small")
logits = model.apply(variables, images, train=False)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from attn_jax.attention import create as create_attention
from attn_jax.errors import UserError, did_you_mean
from attn_jax.models.resnet import ResNet
from attn_jax.models.slot import make_slot

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(ResNet, blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet34": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet50": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True),
    "resnet101": partial(ResNet, blocks=(3, 4, 23, 3), bottleneck=True),
}

__all__ = ["MODELS", "ResNet", "create"]


def create(
    name: str,
    *,
    num_classes: int,
    attention: str | Callable[..., nn.Module] | None = "none",
    attention_options: dict[str, Any] | None = None,
    placement: str | None = None,
    stages: Sequence[int] | None = None,
    stem: str = "imagenet",
    width: float = 1.0,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
) -> nn.Module:
    """Makes the network `name` with `attention` (see `attn_jax.attention.create`) in the places asked for.

    `placement` is `"block"`, `"stage"` or `"conv"`, `stages` are those that get it; None is what is usual for the
    mechanism. The other arguments are the network's fields.

    Raises:
        UserError: an unknown name, option, placement, stage or stem, or a mechanism that does not fit the placement.
    """
    if name not in MODELS:
        raise UserError(f"model {name!r} is unknown.{did_you_mean(name, MODELS)}")
    if stem not in ResNet.STEMS:
        raise UserError(f"stem {stem!r} is unknown.{did_you_mean(stem, ResNet.STEMS)}")
    slot = make_slot(create_attention(attention, **(attention_options or {})), placement, None if stages is None else tuple(stages))
    return MODELS[name](
        num_classes=num_classes,
        attention=slot,
        stem=stem,
        width=width,
        dtype=dtype,
        param_dtype=param_dtype,
        axis_name=axis_name,
    )
