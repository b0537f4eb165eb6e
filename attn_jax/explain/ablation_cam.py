"""Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization, WACV 2020.

A channel's weight is the share of the class's logit that goes without it (doi 10.1109/WACV45572.2020.9093360).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.explain.cam import weighted
from attn_jax.explain.layers import feature_layer, run, run_from, spatial_output
from attn_jax.explain.scores import class_score, stacked


def ablation_cam(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    layer: str | None = None,
    *,
    at_once: int = 32,
) -> Float[Array, "B *inner"]:
    """Where a layer speaks for the target class: its channels, weighted by the share of the logit that each carries.

    The weight of a channel is `(logit - logit with the channel at 0) / logit`, so where the logit is negative the map
    shows what speaks against the class. Maps and arguments are as in `grad_cam`. The network above the layer runs as
    often as the layer has channels, what is below it once (`run_from`). pytorch-grad-cam 1.5.7 computes the same,
    except where a layer's least activation is not 0: it sets the channel far below that one, not to the paper's 0.

    Args:
        at_once: ablated images in one pass, which bounds the memory; one channel of the whole batch at least.

    Raises:
        UserError: no such layer, or one without a map.
    """
    layer = feature_layer(model, layer)
    return _ablation_cam(model, layer, at_once, variables, jnp.asarray(images), jnp.asarray(targets))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _ablation_cam(model: nn.Module, layer: str, at_once: int, variables: Any, images: Array, targets: Array) -> Array:
    inner = spatial_output(model, variables, images, layer)
    logits, activations = run(model, variables, images, layer)
    whole = class_score(logits, targets)[:, None]
    without = ablated_scores(model, variables, images, targets, layer, activations, inner.shape[-1], at_once=at_once)
    return weighted(activations.astype(jnp.float32), (whole - without) / whole)


def ablated_scores(
    model: nn.Module,
    variables: Any,
    images: Float[Array, "B *space C"],
    targets: Int[Array, "B"],
    layer: str,
    activations: Float[Array, "B *inner F"],
    count: int,
    *,
    at_once: int,
) -> Float[Array, "B {count}"]:
    """The targets' scores with each of the first `count` channels of the layer's `activations` at 0."""

    def ablated_score(channel: Array) -> Array:
        kept = jnp.arange(activations.shape[-1]) != channel
        return class_score(run_from(model, variables, images, layer, jnp.where(kept, activations, 0)), targets)

    return stacked(ablated_score, count, at_once // len(images)).T
