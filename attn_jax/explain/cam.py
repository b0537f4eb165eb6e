"""Class activation maps from a layer's activations and the gradients of a class's logit, which all of them share.

Each `*_map` is the formula of a method as pytorch-grad-cam 1.5.7 computes it, before it stretches and resizes the map.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.explain.layers import feature_layer, run, spatial_output
from attn_jax.explain.scores import class_score

Features = Float[Array, "B *inner F"]
Map = Float[Array, "B *inner"]


def grad_cam_map(activations: Features, gradients: Features) -> Map:
    """Grad-CAM (arXiv 1610.02391, equations 1 and 2): channels weighted by their mean gradient."""
    return weighted(activations, gradients.mean(axis=_space(gradients)))


def grad_cam_plus_plus_map(activations: Features, gradients: Features) -> Map:
    """Grad-CAM++ (arXiv 1710.11063): channels weighted by their positive gradients, each times its alpha.

    Alpha is equation 19, the score being the exponential of the logit: with the gradient's square cancelled it is
    1 / (2 + gradient times the channel's sum of activations). pytorch-grad-cam adds 1e-6 to the denominator before that
    square is cancelled, so that its channels of small gradients count less than the equation says.
    """
    space = _space(gradients)
    denominator = 2 + activations.sum(axis=space, keepdims=True) * gradients
    counts = (gradients > 0) & (denominator != 0)
    return weighted(activations, jnp.where(counts, gradients / jnp.where(counts, denominator, 1), 0).sum(axis=space))


def hires_cam_map(activations: Features, gradients: Features) -> Map:
    """HiResCAM (arXiv 2011.08891): the sum over channels of activation times gradient, pixel by pixel."""
    return jax.nn.relu((activations * gradients).sum(axis=-1))


def xgrad_cam_map(activations: Features, gradients: Features) -> Map:
    """XGrad-CAM (arXiv 2008.02312): gradients averaged with the activations as weights.

    1e-7 is added to a channel's sum of activations.
    """
    space = _space(gradients)
    shares = activations / (activations.sum(axis=space, keepdims=True) + 1e-7)
    return weighted(activations, (shares * gradients).sum(axis=space))


def layer_cam_map(activations: Features, gradients: Features) -> Map:
    """LayerCAM (doi 10.1109/TIP.2021.3089943): each activation weighted by its own gradient where that is positive."""
    return jax.nn.relu((activations * jax.nn.relu(gradients)).sum(axis=-1))


def eigen_cam_map(activations: Features, gradients: Features) -> Map:
    """Eigen-CAM (arXiv 2008.00299): pixels on the first principal axis of their channels; the class plays no part.

    Channels are centred, and since a principal axis has no direction, the map's largest value in size is made positive
    (Seg-Eigen-CAM, doi 10.3390/app15137562, equation 13). pytorch-grad-cam's `EigenCAM` leaves the sign to LAPACK.
    """
    del gradients
    pixels = activations.reshape(len(activations), -1, activations.shape[-1])
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    left, values, _ = jnp.linalg.svd(pixels, full_matrices=False)
    projection = (left[..., 0] * values[:, :1]).reshape(activations.shape[:-1])
    space = tuple(range(1, projection.ndim))
    flipped = -projection.min(axis=space, keepdims=True) > projection.max(axis=space, keepdims=True)
    return jax.nn.relu(jnp.where(flipped, -projection, projection))


def weighted(activations: Features, weights: Float[Array, "B F"]) -> Map:
    """The positive part of the sum of channels times their weights."""
    weights = jnp.expand_dims(weights, _space(activations))
    return jax.nn.relu((activations * weights).sum(axis=-1))


def _space(features: Features) -> tuple[int, ...]:
    return tuple(range(1, features.ndim - 1))


def cam(
    formula: Callable[[Features, Features], Map],
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    layer: str | None = None,
) -> Map:
    """The map that a `formula` above makes of a layer's activations and the gradients of the targets' logits.

    Everything else is as in `attn_jax.explain.grad_cam.grad_cam`, this function with the formula `grad_cam_map`.
    """
    return _cam(formula, model, feature_layer(model, layer), variables, jnp.asarray(images), jnp.asarray(targets))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _cam(
    formula: Callable[[Array, Array], Array],
    model: nn.Module,
    layer: str,
    variables: Any,
    images: Array,
    targets: Array,
) -> Array:
    inner = spatial_output(model, variables, images, layer)

    def explained(perturbation: Array) -> tuple[Array, Array]:
        logits, features = run(model, variables, images, layer, perturbation)
        return class_score(logits, targets).sum(), features

    gradients, activations = jax.grad(explained, has_aux=True)(jnp.zeros(inner.shape, inner.dtype))
    return formula(activations.astype(jnp.float32), gradients.astype(jnp.float32))
