"""Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, arXiv 1610.02391."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError
from attn_jax.explain.layers import run, spatial_output


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
    if layer is None:
        if not hasattr(model, "feature_layer"):
            raise UserError(f"{type(model).__name__} names no layer of its own for class activation maps; give a layer")
        layer = model.feature_layer
    return _grad_cam(model, layer, variables, jnp.asarray(images), jnp.asarray(targets))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _grad_cam(model: nn.Module, layer: str, variables: Any, images: Array, targets: Array) -> Array:
    inner = spatial_output(model, variables, images, layer)

    def explained(perturbation: Array) -> tuple[Array, Array]:
        logits, features = run(model, variables, images, layer, perturbation)
        return _chosen(logits, targets).sum(), features

    gradient, features = jax.grad(explained, has_aux=True)(jnp.zeros(inner.shape, inner.dtype))
    space = tuple(range(1, features.ndim - 1))
    weights = gradient.astype(jnp.float32).mean(axis=space, keepdims=True)
    return jax.nn.relu((weights * features.astype(jnp.float32)).sum(axis=-1))


def _chosen(logits: Float[Array, "B K"], targets: Int[Array, "B"]) -> Float[Array, "B"]:
    if logits.shape[-1] == 1:
        return jnp.where(targets == 1, logits[:, 0], -logits[:, 0])
    return jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]


def to_image(maps: Float[Array | np.ndarray, "B *inner"], size: Sequence[int]) -> Float[Array, "B *space"]:
    """Maps for people: each stretched to [0, 1] (a constant one is 0 all over), then resized linearly to `size`.

    Pixel centres lie at halves, so that a map covers the image from edge to edge.
    """
    return _to_image(jnp.asarray(maps, jnp.float32), tuple(size))


@functools.partial(jax.jit, static_argnums=1)
def _to_image(maps: Array, size: tuple[int, ...]) -> Array:
    space = tuple(range(1, maps.ndim))
    low = maps.min(axis=space, keepdims=True)
    spread = maps.max(axis=space, keepdims=True) - low
    stretched = jnp.where(spread > 0, (maps - low) / jnp.where(spread > 0, spread, 1), 0)
    return jnp.clip(jax.image.resize(stretched, (len(maps), *size), "linear"), 0, 1)
