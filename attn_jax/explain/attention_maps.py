"""What the mechanisms themselves look at: the maps that they sow, and pictures of them over the image."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Layout, Mechanism
from attn_jax.errors import UserError


def attention_maps(model: nn.Module, variables: Any, images: Float[Array, "B *space C"]) -> dict[str, dict[str, Array]]:
    """The maps of one batch by the mechanism's path and their kind, empty where nothing is sown.

    Kinds are `"channel"`, `"spatial"`, `"full"`, `"token"` and `"branch"`, as each mechanism says; where one sows
    several maps of a kind, the second is `"spatial 2"` and so on.
    """
    return _attention_maps(model, variables, images)


@functools.partial(jax.jit, static_argnums=0)
def _attention_maps(model: nn.Module, variables: Any, images: Array) -> dict[str, dict[str, Array]]:
    return looked(model, variables, images)[0]


@dataclasses.dataclass(frozen=True)
class AttentionPictures:
    """The maps of one batch for people, by the mechanism's path and their kind.

    Attributes:
        over_image: what has a place in the image, resized linearly to its size: [B, *space], raw (`to_image` of
            `grad_cam` stretches it to [0, 1]).
        values: what has none, as it was sown: `"channel"` [B, C], `"branch"` [B, M, C], and `"token"` where the keys
            are channels or memories.
    """

    over_image: dict[str, dict[str, Array]]
    values: dict[str, dict[str, Array]]


def attention_pictures(
    model: nn.Module, variables: Any, images: Float[Array, "B *space C"], query: Sequence[int] | None = None
) -> AttentionPictures:
    """The maps of one batch, drawn over the images where that can be.

    A `"full"` map is drawn as its mean over channels, a `"token"` map as the attention that each position receives: the
    mean over heads and queries or, with `query`, the attention that the token at this pixel pays (the mean all the
    same, where queries have no place in the image).

    Raises:
        UserError: `query` does not lie in the image.
    """
    size = images.shape[1:-1]
    if query is not None and not (
        len(query) == len(size) and all(0 <= place < side for place, side in zip(query, size, strict=True))
    ):
        raise UserError(f"query={tuple(query)!r} is no pixel of an image of {' x '.join(map(str, size))}")
    layouts = _layouts(model, variables, images)
    drawn = AttentionPictures({}, {})
    for path, kinds in attention_maps(model, variables, images).items():
        for kind, sown in kinds.items():
            placed = over_space(kind, sown, layouts.get((path, kind)), size, query)
            if placed is None:
                drawn.values.setdefault(path, {})[kind] = sown
            else:
                resized = jax.image.resize(placed.astype(jnp.float32), (len(sown), *size), "linear")
                drawn.over_image.setdefault(path, {})[kind] = resized
    return drawn


def over_space(
    kind: str,
    map: Float[Array, "B *map"],
    layout: Layout | None,
    size: Sequence[int],
    query: Sequence[int] | None = None,
) -> Float[Array, "B *inner"] | None:
    """A map of a mechanism as it lies over an image of `size`, of its own size; None where it has no place there."""
    if kind.startswith("spatial"):
        return map
    if kind.startswith("full"):
        return map.mean(-1)
    return None if layout is None else received(lay_out(map, layout), size, query)


def lay_out(map: Float[Array, "B K N M"], layout: Layout) -> Float[Array, "B K *queries_and_space"]:
    """A token map with its queries and keys where they stand in the image."""
    return layout(map) if callable(layout) else map.reshape(*map.shape[:2], *layout)


def received(
    tokens: Float[Array, "B K *queries_and_space"], size: Sequence[int], query: Sequence[int] | None
) -> Float[Array, "B *space"]:
    """The attention that each position gets from the token at the pixel `query` of an image of `size`, or from all."""
    tokens = tokens.mean(1)
    queries = range(1, tokens.ndim - len(size))
    if query is None or len(queries) != len(size):
        return tokens.mean(queries)
    places = (place * tokens.shape[axis] // side for axis, place, side in zip(queries, query, size, strict=True))
    return tokens[(slice(None), *places)]


Layouts = dict[tuple[str, str], Layout | None]


def looked(
    model: nn.Module, variables: Any, images: Float[Array, "B *space C"]
) -> tuple[dict[str, dict[str, Array]], Layouts]:
    """`attention_maps` in the order of their calls, not compiled, and how each lies in the image, as far as it says."""
    layouts: Layouts = {}

    def tap(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.method_name == "look" and isinstance(context.module, Mechanism):
            note("/".join(context.module.path), *args, **kwargs)
        return call(*args, **kwargs)

    def note(path: str, kind: str, map: Array, layout: Layout | None = None) -> None:
        before = sum(other.partition(" ")[0] == kind for known, other in layouts if known == path)
        layouts[path, _numbered(kind, before)] = layout

    clean = {kind: values for kind, values in variables.items() if kind != "attention"}
    with nn.intercept_methods(tap):
        _, state = model.apply(clean, images, train=False, mutable=["attention"])
    found: dict[str, dict[str, Array]] = {}
    for path, sown in flatten_dict(state.get("attention", {})).items():
        maps = found.setdefault("/".join(path[:-1]), {})
        maps |= {_numbered(path[-1], i): map for i, map in enumerate(sown)}
    return found, layouts


def _numbered(kind: str, before: int) -> str:
    return f"{kind} {before + 1}" if before else kind


def _layouts(model: nn.Module, variables: Any, images: Array) -> Layouts:
    """How each map lies in the image; nothing is computed."""
    leaves, tree = jax.tree.flatten((variables, images))
    return _layouts_of(model, tree, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves))


@functools.lru_cache(maxsize=32)
def _layouts_of(model: nn.Module, tree: jax.tree_util.PyTreeDef, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> Layouts:
    # The compiled `attention_maps` runs through the network's code once, and can tell of layouts only then.
    found: Layouts = {}

    def trace(variables: Any, images: Array) -> None:
        found.update(looked(model, variables, images)[1])

    jax.eval_shape(trace, *jax.tree.unflatten(tree, leaves))
    return found
