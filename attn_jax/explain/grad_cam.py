"""Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, arXiv 1610.02391."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.explain.cam import cam, grad_cam_map


def grad_cam(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    layer: str | None = None,
) -> Float[Array, "B *inner"]:
    """Where a layer speaks for the target class: its channels, weighted by the mean gradient of the class's logit.

    The maps are raw: float32, at least 0, of the layer's size and each on its own scale (see `to_image`). One compiled
    call a batch, kept for equal models and layers whatever their variables; nothing below the layer is differentiated.

    Args:
        model: a linen network in 2-D or 3-D, called as `model(images, train=False)`.
        variables: its variables.
        images: as the network takes them (normalised).
        targets: the class (or finding) to explain, for each image; for a network with one logit, 1 explains the logit
            and 0 its negative.
        layer: path of a submodule; None takes the model's `feature_layer`.

    Raises:
        UserError: no such layer, or one without a map.
    """
    return cam(grad_cam_map, model, variables, images, targets, layer)


def to_image(maps: Float[Array | np.ndarray, "B *inner"], size: Sequence[int]) -> Float[Array, "B *space"]:
    """Maps for people: each stretched to [0, 1] (a constant one is 0 all over), then resized linearly to `size`.

    A map that is not finite becomes NaN all over. Pixel centres lie at halves, so that a map covers the image from edge
    to edge.
    """
    return _to_image(jnp.asarray(maps, jnp.float32), tuple(size))


@functools.partial(jax.jit, static_argnums=1)
def _to_image(maps: Array, size: tuple[int, ...]) -> Array:
    space = tuple(range(1, maps.ndim))
    low = maps.min(axis=space, keepdims=True)
    spread = maps.max(axis=space, keepdims=True) - low
    scale = jnp.where(jnp.isfinite(spread), jnp.where(spread > 0, spread, 1), jnp.nan)
    stretched = (maps - low) / scale
    return jnp.clip(jax.image.resize(stretched, (len(maps), *size), "linear"), 0, 1)
