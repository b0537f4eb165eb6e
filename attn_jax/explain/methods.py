"""Every saliency method by its name, behind one call."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError, did_you_mean
from attn_jax.explain import cam
from attn_jax.explain.ablation_cam import ablation_cam
from attn_jax.explain.grad_cam import grad_cam
from attn_jax.explain.input_gradients import input_gradient, integrated_gradients, smooth_grad
from attn_jax.explain.occlusion import occlusion
from attn_jax.explain.rise import rise
from attn_jax.explain.score_cam import score_cam

METHODS: dict[str, Callable[..., Array]] = {
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": functools.partial(cam.cam, cam.grad_cam_plus_plus_map),
    "hires_cam": functools.partial(cam.cam, cam.hires_cam_map),
    "xgrad_cam": functools.partial(cam.cam, cam.xgrad_cam_map),
    "layer_cam": functools.partial(cam.cam, cam.layer_cam_map),
    "eigen_cam": functools.partial(cam.cam, cam.eigen_cam_map),
    "score_cam": score_cam,
    "ablation_cam": ablation_cam,
    "input_gradient": input_gradient,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
    "rise": rise,
}


def saliency(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    method: str = "grad_cam",
    layer: str | None = None,
    **options: Any,
) -> Float[Array, "B *map"]:
    """What a method of `METHODS` says about each image's target: raw float32 maps, each on its own scale.

    Class activation maps (`"..._cam..."`) are at least 0 and of the layer's size. The others explain the image: of its
    size, at least 0 for `"input_gradient"` and `"smooth_grad"`, of both signs for the rest. `to_image` makes pictures.
    Each is one compiled call a batch, kept for equal models, layers and sizes; in 2-D and 3-D.

    Args:
        model: a linen network, called as `model(images, train=False)`.
        variables: its variables.
        images: as the network takes them (normalised).
        targets: the class (or finding) to explain, for each image; for a network with one logit, 1 explains the logit
            and 0 its negative.
        method: a name of `METHODS`.
        layer: path of a submodule, of a class activation map alone; None takes the model's `feature_layer`.
        options: what the method takes besides, such as the `key` that `"smooth_grad"` and `"rise"` draw with.

    Raises:
        UserError: no such method, layer or option, or a missing key.
    """
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown.{did_you_mean(method, METHODS)}")
    taken = list(inspect.signature(METHODS[method]).parameters.values())[4:]
    known = [parameter.name for parameter in taken]
    if layer is not None:
        if "layer" not in known:
            raise UserError(f"method {method!r} explains the image itself; leave out layer={layer!r}")
        options["layer"] = layer
    for name in options:
        if name not in known:
            raise UserError(f"method {method!r} takes no {name!r}.{did_you_mean(name, known)}")
    for parameter in taken:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise UserError(f"method {method!r} draws at random; give key=jax.random.key(0), or another")
    return METHODS[method](model, variables, images, targets, **options)
