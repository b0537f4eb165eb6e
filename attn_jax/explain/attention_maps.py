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
    found: dict[str, dict[str, Array]] = {}
    for path, sown in flatten_dict(_sown(model, variables, images)).items():
        maps = found.setdefault("/".join(path[:-1]), {})
        maps |= {_numbered(path[-1], i): map for i, map in enumerate(sown)}
    return found


def _numbered(kind: str, before: int) -> str:
    return f"{kind} {before + 1}" if before else kind


@functools.partial(jax.jit, static_argnums=0)
def _sown(model: nn.Module, variables: Any, images: Array) -> Any:
    _, state = model.apply(variables, images, train=False, mutable=["attention"])
    return state.get("attention", {})


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
            if kind.startswith(("spatial", "full")):
                placed = sown if kind.startswith("spatial") else sown.mean(-1)
            elif (layout := layouts.get((path, kind))) is not None:
                placed = received(lay_out(sown, layout), size, query)
            else:
                drawn.values.setdefault(path, {})[kind] = sown
                continue
            resized = jax.image.resize(placed.astype(jnp.float32), (len(sown), *size), "linear")
            drawn.over_image.setdefault(path, {})[kind] = resized
    return drawn


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


def _layouts(model: nn.Module, variables: Any, images: Array) -> dict[tuple[str, str], Layout | None]:
    """How each mechanism says its maps lie in the image, by their kinds; nothing is computed."""
    found: dict[tuple[str, str], Layout | None] = {}

    def tap(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.method_name == "look" and isinstance(context.module, Mechanism):
            note("/".join(context.module.path), *args, **kwargs)
        return call(*args, **kwargs)

    def note(path: str, kind: str, map: Array, layout: Layout | None = None) -> None:
        before = sum(other.partition(" ")[0] == kind for known, other in found if known == path)
        found[path, _numbered(kind, before)] = layout

    with nn.intercept_methods(tap):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, images)
    return found
