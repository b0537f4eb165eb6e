"""What attention mechanisms have in common: they show the maps that they use."""

from flax import linen as nn
from jaxtyping import Array, Float


class Mechanism(nn.Module):
    """A linen module from `x` [B, *space, C] to the same shape that shows what it looks at.

    Subclasses pass each map through `look` and use what comes back. They may set, as class variables,
    `usual_placement` (`"block"`, `"stage"` or `"conv"`) and `usual_stages`, and `normalised` where they replace a
    convolution and end in a normalisation and activation of their own.
    """

    def look(self, kind: str, map: Float[Array, "B *map"]) -> Float[Array, "B *map"]:
        """Sows `map` into the collection `"attention"` and returns it, or what a wrapper puts in its place.

        Args:
            kind: `"channel"` [B, C], `"spatial"` [B, *space], `"full"` [B, *space, C], `"token"` [B, K, N, M]
                (query by key, each row sums to 1), `"branch"` [B, M, C] (M branches).
            map: of the shape that belongs to the kind.
        """
        self.sow("attention", kind, map)
        return map
