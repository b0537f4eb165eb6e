"""Reading, gently pushing and replacing what any submodule of a network puts out, by its path."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from attn_jax.errors import UserError, did_you_mean


def run(
    model: nn.Module,
    variables: Any,
    images: Float[Array, "B *space C"],
    layer: str,
    perturbation: Float[Array, "B *inner F"] | None = None,
) -> tuple[Float[Array, "B K"], Float[Array, "B *inner F"]]:
    """`(logits, output of layer)` in evaluation mode, with `perturbation` added to that output.

    Args:
        model: any linen module that is called as `model(images, train=False)`.
        variables: its variables.
        images: what it looks at.
        layer: path of a submodule that is called once, such as `"stage4_block2"` or `"stage4_block2/attention"`.
        perturbation: of the shape of the output; None adds nothing.
    """
    seen: list[Array] = []

    def read(compute: Callable[[], Array]) -> Array:
        output = compute()
        seen.append(output if perturbation is None else output + perturbation)
        return seen[-1]

    return _tapped(model, variables, images, layer, read), seen[-1]


def run_from(
    model: nn.Module,
    variables: Any,
    images: Float[Array, "B *space C"],
    layer: str,
    output: Float[Array, "B *inner F"],
) -> Float[Array, "B K"]:
    """Logits in evaluation mode, with `output` in place of what `layer` puts out.

    The layer is not called, and under `jit` XLA removes as dead code what feeds the layer alone. Of the network below
    it there remains what goes round the layer, such as a residual block's shortcut; under a `vmap` over `output` alone
    that is computed once for all.
    """
    return _tapped(model, variables, images, layer, lambda compute: output)


def _tapped(
    model: nn.Module, variables: Any, images: Array, layer: str, tap_layer: Callable[[Callable[[], Array]], Array]
) -> Array:
    """Logits with `tap_layer(compute)` for the output of `layer`, where `compute()` calls the layer."""
    path = tuple(layer.split("/"))
    inside = False

    def tap(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal inside
        if inside or context.method_name != "__call__" or context.module.path != path:
            return call(*args, **kwargs)
        inside = True  # until the outer of the calls returns, where a class extends another's
        output = tap_layer(lambda: call(*args, **kwargs))
        inside = False
        return output

    with nn.intercept_methods(tap):
        logits: Any = model.apply(variables, images, train=False)
    return logits


def outputs(model: nn.Module, variables: Any, images: Float[Array, "B *space C"]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and type of what each submodule puts out, by its path in order of their calls; nothing is computed."""
    found: dict[str, jax.ShapeDtypeStruct] = {}

    def tap(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.path and hasattr(output, "shape"):
            found["/".join(context.module.path)] = jax.ShapeDtypeStruct(output.shape, output.dtype)
        return output

    with nn.intercept_methods(tap):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, images)
    return found


def spatial_output(
    model: nn.Module, variables: Any, images: Float[Array, "B *space C"], layer: str
) -> jax.ShapeDtypeStruct:
    """Shape and type `[B, *inner, F]` of what `layer` puts out.

    Raises:
        UserError: no submodule has this path (the line names a close one, then the blocks), or its output has no space.
    """
    known = outputs(model, variables, images)
    spatial = [path for path, output in known.items() if len(output.shape) == images.ndim]
    blocks = [path for path in spatial if "/" not in path]
    if layer not in known:
        raise UserError(f"layer {layer!r} is not in the network.{did_you_mean(layer, spatial, shown=blocks)}")
    if layer not in spatial:
        shape = known[layer].shape
        raise UserError(f"layer {layer!r} puts out {shape}, not a map over the image.{did_you_mean(layer, blocks)}")
    return known[layer]


def feature_layer(model: nn.Module, layer: str | None) -> str:
    """`layer`, or for None the one that the model names as its `feature_layer`.

    Raises:
        UserError: None, and the model names none.
    """
    if layer is not None:
        return layer
    if not hasattr(model, "feature_layer"):
        raise UserError(f"{type(model).__name__} names no layer of its own for class activation maps; give a layer")
    return model.feature_layer
