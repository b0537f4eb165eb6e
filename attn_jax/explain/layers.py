"""Reading, and gently pushing, what any submodule of a network puts out, by its path."""

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
    path = tuple(layer.split("/"))
    seen: list[Array] = []

    inside = False

    def tap(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal inside
        if inside or context.method_name != "__call__" or context.module.path != path:
            return call(*args, **kwargs)
        inside = True  # until the outer of the calls returns, where a class extends another's
        output = call(*args, **kwargs)
        inside = False
        seen.append(output if perturbation is None else output + perturbation)
        return seen[-1]

    with nn.intercept_methods(tap):
        logits: Any = model.apply(variables, images, train=False)
    return logits, seen[-1]


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
