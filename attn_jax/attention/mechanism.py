"""What attention mechanisms have in common: they show the maps that they use."""

import dataclasses
from collections.abc import Callable

import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from attn_jax.errors import UserError

Layout = tuple[int, ...] | Callable[[Float[Array, "B K N M"]], Float[Array, "B K *queries_and_space"]]
"""How the tokens of a map lie in the image: `(*queries, *space)`, which its last two axes are cut into, or a function
of the map to [B, K, *queries, *space]; `queries` is one axis where they have no place in the image."""

NUMBERS: dict[str, tuple[Callable[[int], bool], str]] = {
    "kernel_size": (lambda size: size >= 1 and size % 2 == 1, "an odd number from 1 on, which has a centre"),
    "reduction": (lambda factor: factor >= 1, "at least 1: the channels are divided by it"),
    **dict.fromkeys(("dilation", "strides", "features", "groups"), (lambda count: count >= 1, "at least 1")),
}
"""What fields of these names may be."""


class Mechanism(nn.Module):
    """A linen module from `x` [B, *space, C] to the same shape that shows what it looks at.

    Subclasses pass each map through `look` and use what comes back. They may set, as class variables,
    `usual_placement` (`"block"`, `"stage"` or `"conv"`) and `usual_stages` (of a ResNet's four; other networks take
    theirs of the same strides), `starts_as_identity` where they leave their input as it is at initialisation, and
    `normalised` where they replace a convolution and end in a normalisation and activation of their own.

    Raises:
        UserError: a field for a whole number holds none, or one that its name forbids: `kernel_size` is not odd,
            `reduction`, `dilation`, `strides`, `features` or `groups` is less than 1.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, (fits, wanted) = getattr(self, field.name), NUMBERS.get(field.name, (lambda _: True, ""))
            if field.type not in (int, int | None) or (value is None and field.type is not int):
                continue
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not (whole and fits(value)):
                wanted = wanted if whole else "a whole number"
                raise UserError(f"attention {type(self).__name__}: {field.name}={value!r} is not {wanted}")
        super().__post_init__()

    def look(self, kind: str, map: Float[Array, "B *map"], layout: Layout | None = None) -> Float[Array, "B *map"]:
        """Sows `map` into `"attention"` (not in `init`) and returns it, or what a wrapper puts in its place.

        Args:
            kind: `"channel"` [B, C], `"spatial"` [B, *space], `"full"` [B, *space, C], `"token"` [B, K, N, M]
                (query by key, each row sums to 1), `"branch"` [B, M, C] (M branches).
            map: of the shape that belongs to the kind.
            layout: of a token map, for those who draw it (`attn_jax.explain`); None where its keys have no place in the
                image.
        """
        # What `init` sowed would stay in its variables, and later calls would only add to it.
        if not self.is_initializing():
            self.sow("attention", kind, map)
        return map
