"""What the network's attention mechanisms look at themselves, as a map beside those of the saliency methods."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError, did_you_mean
from attn_jax.explain.attention_maps import looked, over_space


def own_attention(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    layer: str | None = None,
) -> Float[Array, "B *inner"]:
    """The last map with a place in the image that the network's mechanisms show, of the mechanism's own size.

    `attention_pictures` says how each kind of map becomes one over the image. It is raw, float32 and at least 0: what
    is negative, as a gate without a sigmoid may be, counts as 0. One compiled call a batch, kept for equal models and
    layers whatever their variables.

    Args:
        model: a linen network in 2-D or 3-D, called as `model(images, train=False)`.
        variables: its variables.
        images: as the network takes them (normalised).
        targets: not used; a mechanism does not know the class.
        layer: path of a mechanism, or of what holds some, such as `"stage4_block2"`; None takes the whole network.

    Raises:
        UserError: the network, or `layer`, has no mechanism, or none whose map has a place in the image.
    """
    del targets
    return _own_attention(model, layer, variables, jnp.asarray(images))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _own_attention(model: nn.Module, layer: str | None, variables: Any, images: Array) -> Array:
    maps, layouts = looked(model, variables, images)
    if not maps:
        raise UserError("saliency method 'attention' needs a network with an attention mechanism that shows a map")
    inside = [path for path in maps if layer is None or path == layer or path.startswith(f"{layer}/")]
    if not inside:
        raise UserError(f"layer {layer!r} holds no attention mechanism that shows a map.{did_you_mean(layer, maps)}")
    size = images.shape[1:-1]
    placed = [
        drawn
        for path in inside
        for kind, map in maps[path].items()
        if (drawn := over_space(kind, map, layouts.get((path, kind)), size)) is not None
    ]
    if not placed:
        kinds = sorted({kind.partition(" ")[0] for path in inside for kind in maps[path]})
        where = "this network" if layer is None else f"layer {layer!r}"
        raise UserError(
            f"saliency method 'attention': the attention of {where} has no place in the image, its maps are by "
            f"{' and '.join(kinds)} alone; choose another method"
        )
    return jnp.maximum(placed[-1].astype(jnp.float32), 0)
