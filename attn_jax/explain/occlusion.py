"""Which parts of the image the class needs: its logit with a patch covered, for every place of the patch."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError
from attn_jax.explain.interpolation import along_axes
from attn_jax.explain.scores import score, stacked


def occlusion(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    *,
    patch: int = 16,
    stride: int = 8,
    value: float = 0.0,
    at_once: int = 32,
) -> Float[Array, "B *space"]:
    """How far the target's logit falls when a pixel is covered, as the mean over the patches that cover it.

    Visualizing and Understanding Convolutional Networks, arXiv 1311.2901, section 4.2; drawn at the image's size as
    Captum draws it. The map is raw and float32 and has both signs: where it is negative the class gains. The model,
    variables, images and targets are as in `grad_cam`.

    Args:
        patch: side of the square or cube that is covered, in pixels.
        stride: pixels from one place to the next. The first patch lies in the corner, the last may stick out.
        value: what the patch is filled with; 0 is the mean of normalised images.
        at_once: covered images in one pass, which bounds the memory; one place of the whole batch at least.

    Raises:
        UserError: `stride` is not in 1 to `patch`, so that pixels would stay uncovered; or the patch covers the whole
            image, so that the map would be constant.
    """
    if not 1 <= stride <= patch:
        raise UserError(f"stride={stride} with patch={patch} leaves pixels uncovered; choose 1 <= stride <= patch")
    size = images.shape[1:-1]
    if patch >= max(size):
        raise UserError(f"patch={patch} covers the whole image of {' x '.join(map(str, size))}; choose a smaller one")
    arrays = variables, jnp.asarray(images), jnp.asarray(targets), jnp.asarray(value)
    return _occlusion(model, patch, stride, at_once, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _occlusion(
    model: nn.Module,
    patch: int,
    stride: int,
    at_once: int,
    variables: Any,
    images: Array,
    targets: Array,
    value: Array,
) -> Array:
    windows = [_windows(side, patch, stride) for side in images.shape[1:-1]]
    places = tuple(len(axis) for axis in windows)

    def covered_score(index: Array) -> Array:
        inside = jnp.array(True)
        for axis, place in zip(windows, jnp.unravel_index(index, places), strict=True):
            inside = inside[..., None] & axis[place]
        return score(model, variables, jnp.where(inside[..., None], value.astype(images.dtype), images), targets)

    whole = score(model, variables, images, targets)
    drops = whole - stacked(covered_score, np.prod(places, dtype=int).item(), at_once // len(images))
    covers = [axis.T.astype(jnp.float32) for axis in windows]
    total = along_axes(drops.T.reshape(-1, *places), covers)
    return total / along_axes(jnp.ones((1, *places)), covers)


def _windows(side: int, patch: int, stride: int) -> Array:
    """Which of `side` pixels each place of the patch covers on an axis, [places, side]."""
    starts = np.arange(0, max(side - patch, 0) + stride, stride)
    pixels = np.arange(side)
    return jnp.asarray((pixels >= starts[:, None]) & (pixels < starts[:, None] + patch))
