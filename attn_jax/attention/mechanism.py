"""What attention mechanisms have in common: they show the maps that they use."""

from collections.abc import Callable

from flax import linen as nn
from jaxtyping import Array, Float

Layout = tuple[int, ...] | Callable[[Float[Array, "B K N M"]], Float[Array, "B K *queries_and_space"]]
"""How the tokens of a map lie in the image: `(*queries, *space)`, which its last two axes are cut into, or a function
of the map to [B, K, *queries, *space]; `queries` is one axis where they have no place in the image."""


class Mechanism(nn.Module):
    """A linen module from `x` [B, *space, C] to the same shape that shows what it looks at.

    Subclasses pass each map through `look` and use what comes back. They may set, as class variables,
    `usual_placement` (`"block"`, `"stage"` or `"conv"`) and `usual_stages`, and `normalised` where they replace a
    convolution and end in a normalisation and activation of their own.
    """

    def look(self, kind: str, map: Float[Array, "B *map"], layout: Layout | None = None) -> Float[Array, "B *map"]:
        """Sows `map` into the collection `"attention"` and returns it, or what a wrapper puts in its place.

        Args:
            kind: `"channel"` [B, C], `"spatial"` [B, *space], `"full"` [B, *space, C], `"token"` [B, K, N, M]
                (query by key, each row sums to 1), `"branch"` [B, M, C] (M branches).
            map: of the shape that belongs to the kind.
            layout: of a token map, for those who draw it (`attn_jax.explain`); None where its keys have no place in the
                image.
        """
        self.sow("attention", kind, map)
        return map
