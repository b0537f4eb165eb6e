"""Every saliency method by its name, behind one call."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError, did_you_mean
from attn_jax.explain import cam
from attn_jax.explain.ablation_cam import ablation_cam
from attn_jax.explain.grad_cam import grad_cam
from attn_jax.explain.input_gradients import input_gradient, integrated_gradients, smooth_grad
from attn_jax.explain.occlusion import occlusion
from attn_jax.explain.own_attention import own_attention
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
    "attention": own_attention,
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

    Class activation maps (`"..._cam..."`) are at least 0 and of the layer's size. `"attention"` is what a mechanism
    shows of itself, whatever the target: at least 0 and of its own size. The others explain the image: of its size, at
    least 0 for `"input_gradient"` and `"smooth_grad"`, of both signs for the rest. `to_image` makes pictures. Each is
    one compiled call a batch, kept for equal models, layers and sizes; in 2-D and 3-D.

    Args:
        model: a linen network, called as `model(images, train=False)`.
        variables: its variables.
        images: as the network takes them (normalised).
        targets: the class (or finding) to explain, for each image; for a network with one logit, 1 explains the logit
            and 0 its negative. They are looked at, so that this function itself cannot be traced.
        method: a name of `METHODS`.
        layer: path of a submodule: of a class activation map, where None takes the model's `feature_layer`, or the
            mechanism of `"attention"`, where None takes the last.
        options: what the method takes besides, such as the `key` that `"smooth_grad"` and `"rise"` draw with.

    Raises:
        UserError: no such method, layer or option, or a missing key; images that are not floating; targets that are not
            a whole number for each image, or that the network has no output for.
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
    _check(model, variables, images, targets)
    return METHODS[method](model, variables, images, targets, **options)


def _check(model: nn.Module, variables: Any, images: Array | np.ndarray, targets: Array | np.ndarray) -> None:
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(f"images are {images.dtype}; give them in floating point, normalised as the network takes them")
    given = np.asarray(targets)
    if not np.issubdtype(given.dtype, np.integer) or given.shape != (len(images),):
        raise UserError(f"targets are {given.dtype} {given.shape}; give whole numbers, one an image, [{len(images)}]")
    if ((given == 0) | (given == 1)).all():
        return  # every network knows these
    outputs = _logits.eval_shape(model, variables, images).shape[-1]
    last = max(outputs, 2) - 1  # of one logit, 0 explains the negative
    if not ((given >= 0) & (given <= last)).all():
        wrong = sorted(set(given[(given < 0) | (given > last)].tolist()))
        raise UserError(f"targets {wrong} are not from 0 to {last}: the network has {outputs} output(s)")


@functools.partial(jax.jit, static_argnums=0)
def _logits(model: nn.Module, variables: Any, images: Array) -> Any:
    # Never run: a compiled function keeps its shapes, where `jax.eval_shape` traces the network at every call.
    return model.apply(variables, images, train=False)
