"""Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, arXiv 1910.01279.

A channel's weight is what the network says of the image seen through it. As pytorch-grad-cam 1.5.7 computes it.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.explain.cam import weighted
from attn_jax.explain.interpolation import along_axes, between_cells
from attn_jax.explain.layers import feature_layer, run, spatial_output
from attn_jax.explain.scores import score, stacked


def score_cam(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    layer: str | None = None,
    *,
    at_once: int = 32,
) -> Float[Array, "B *inner"]:
    """Where a layer speaks for the target class: its channels, weighted by the class's score of images masked by them.

    Each channel is resized to the image, stretched to [0, 1] and multiplied with the image; the weights are the softmax
    over channels of the target's logits. (The paper subtracts a baseline's logit first, which the softmax cancels.)
    Maps and arguments are as in `grad_cam`. It takes as many forward passes of the batch as the layer has channels.

    Args:
        at_once: masked images in one pass, which bounds the memory; one channel of the whole batch at least.

    Raises:
        UserError: no such layer, or one without a map.
    """
    layer = feature_layer(model, layer)
    return _score_cam(model, layer, at_once, variables, jnp.asarray(images), jnp.asarray(targets))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _score_cam(model: nn.Module, layer: str, at_once: int, variables: Any, images: Array, targets: Array) -> Array:
    spatial_output(model, variables, images, layer)
    activations = run(model, variables, images, layer)[1].astype(jnp.float32)
    scores = masked_scores(model, variables, images, targets, activations, at_once=at_once)
    return weighted(activations, jax.nn.softmax(scores, axis=-1))


def masked_scores(
    model: nn.Module,
    variables: Any,
    images: Float[Array, "B *space C"],
    targets: Int[Array, "B"],
    activations: Float[Array, "B *inner F"],
    *,
    at_once: int,
) -> Float[Array, "B F"]:
    """The targets' scores of the images masked by each channel of `activations`.

    A channel is resized linearly with its corner pixels on the image's corners.
    """
    axes = zip(activations.shape[1:-1], images.shape[1:-1], strict=True)
    upsampling = [between_cells(jnp.linspace(0, cells - 1, side), cells) for cells, side in axes]
    space = tuple(range(1, images.ndim - 1))

    def masked_score(channel: Array) -> Array:
        masks = along_axes(jnp.take(activations, channel, axis=-1), upsampling)
        low, high = (of(masks, axis=space, keepdims=True) for of in (jnp.min, jnp.max))
        masks = (masks - low) / (high - low + 1e-8)
        return score(model, variables, images * masks[..., None].astype(images.dtype), targets)

    return stacked(masked_score, activations.shape[-1], at_once // len(images)).T
