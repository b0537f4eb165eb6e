"""What the mechanisms themselves look at: the maps that they sow."""

import functools
from typing import Any

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float


def attention_maps(model: nn.Module, variables: Any, images: Float[Array, "B *space C"]) -> dict[str, dict[str, Array]]:
    """The maps of one batch by the mechanism's path and their kind, empty where nothing is sown.

    Kinds are `"channel"`, `"spatial"`, `"full"`, `"token"` and `"branch"`, as each mechanism says; of a mechanism that
    ran more than once, the last maps.
    """
    found: dict[str, dict[str, Array]] = {}
    for path, sown in flatten_dict(_sown(model, variables, images)).items():
        found.setdefault("/".join(path[:-1]), {})[path[-1]] = sown[-1]
    return found


@functools.partial(jax.jit, static_argnums=0)
def _sown(model: nn.Module, variables: Any, images: Array) -> Any:
    _, state = model.apply(variables, images, train=False, mutable=["attention"])
    return state.get("attention", {})
