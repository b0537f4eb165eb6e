"""Which pixels move the class's logit: gradients with respect to the image, plain, smoothed and integrated."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.explain.scores import at_least_one, score, summed

Images = Float[Array | np.ndarray, "B *space C"]
Targets = Int[Array | np.ndarray, "B"]


def input_gradient(model: nn.Module, variables: Any, images: Images, targets: Targets) -> Float[Array, "B *space"]:
    """How strongly each pixel moves the target's logit: the largest gradient of its channels in size.

    Deep Inside Convolutional Networks, arXiv 1312.6034, section 3.1. The map is raw, float32, of the image's size and
    at least 0; the arguments are as in `grad_cam`.
    """
    return _input_gradient(model, variables, jnp.asarray(images), jnp.asarray(targets))


def smooth_grad(
    model: nn.Module,
    variables: Any,
    images: Images,
    targets: Targets,
    *,
    key: Array,
    samples: int = 50,
    noise: float = 0.15,
    at_once: int = 16,
) -> Float[Array, "B *space"]:
    """`input_gradient` of the mean gradient over `samples` noisy copies of the image: SmoothGrad, arXiv 1706.03825.

    Args:
        key: of the noise, which is the same for all images of a batch, so that a map does not depend on the others.
        samples: noisy copies.
        noise: standard deviation of the Gaussian noise, as a share of the range of the image's values.
        at_once: noisy images in one pass, which bounds the memory; one copy of the whole batch at least.

    Raises:
        UserError: no samples.
    """
    at_least_one(samples=samples)
    arrays = variables, jnp.asarray(images), jnp.asarray(targets), key, jnp.asarray(noise)
    return _smooth_grad(model, samples, at_once, *arrays)


def integrated_gradients(
    model: nn.Module,
    variables: Any,
    images: Images,
    targets: Targets,
    *,
    baseline: float = 0.0,
    steps: int = 50,
    at_once: int = 16,
) -> Float[Array, "B *space"]:
    """What each pixel adds to the target's logit: Axiomatic Attribution for Deep Networks, arXiv 1703.01365.

    The gradient's mean along the straight line from a constant image to the image, times their difference, summed over
    channels. A map has both signs and sums to the difference of the logits (completeness), up to the error of the mean
    over `steps` midpoints.

    Args:
        baseline: the constant image's value; 0 is the mean of normalised images.
        steps: points on the line.
        at_once: images in one pass, which bounds the memory; one point of the whole batch at least.

    Raises:
        UserError: no steps.
    """
    at_least_one(steps=steps)
    arrays = variables, jnp.asarray(images), jnp.asarray(targets), jnp.asarray(baseline)
    return _integrated_gradients(model, steps, at_once, *arrays)


@functools.partial(jax.jit, static_argnums=0)
def _input_gradient(model: nn.Module, variables: Any, images: Array, targets: Array) -> Array:
    return jnp.abs(_gradient(model, variables, targets)(images)).max(axis=-1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _smooth_grad(
    model: nn.Module,
    samples: int,
    at_once: int,
    variables: Any,
    images: Array,
    targets: Array,
    key: Array,
    noise: Array,
) -> Array:
    every = tuple(range(1, images.ndim))
    spread = noise * (images.max(axis=every, keepdims=True) - images.min(axis=every, keepdims=True))
    gradient = _gradient(model, variables, targets)

    def noisy(index: Array) -> Array:
        drawn = jax.random.normal(jax.random.fold_in(key, index), images.shape[1:], images.dtype)
        return gradient(images + (spread * drawn).astype(images.dtype))

    return jnp.abs(summed(noisy, samples, at_once // len(images)) / samples).max(axis=-1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _integrated_gradients(
    model: nn.Module, steps: int, at_once: int, variables: Any, images: Array, targets: Array, baseline: Array
) -> Array:
    gradient = _gradient(model, variables, targets)
    difference = images - baseline.astype(images.dtype)

    def on_the_line(index: Array) -> Array:
        left = (1 - (index + 0.5) / steps).astype(images.dtype)
        return gradient(images - left * difference)

    return (summed(on_the_line, steps, at_once // len(images)) / steps * difference).sum(axis=-1)


def _gradient(model: nn.Module, variables: Any, targets: Array) -> Callable[[Array], Array]:
    """From images to the gradients of their targets' scores, float32."""
    gradient = jax.grad(lambda images: score(model, variables, images, targets).sum())
    return lambda images: gradient(images).astype(jnp.float32)
