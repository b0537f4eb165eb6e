"""A negative control: any mechanism with its maps in the wrong places.

What a mechanism gains beyond it, it owes to where it looks and not to its parameters, its cost or its maps' values.
"""

import functools
import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt32

from attn_jax.attention.mechanism import Layout, Mechanism
from attn_jax.errors import UserError

PLACES = {
    "channel": slice(1, None),
    "spatial": slice(1, None),
    "full": slice(1, -1),
    "token": slice(-1, None),
    "branch": slice(-1, None),
}
"""The axes of each kind of map along which its values change places: channels, positions, keys. The rows of a token map
still sum to 1, and so do a channel's branches."""

SUMS = 8


class Shuffled(Mechanism):
    """Makes the class that it is mixed into (see `shuffle_maps`) use each of its maps permuted.

    The mechanism computes its maps as usual, with the same parameters under the same names. What it then multiplies
    with, and sows, are the map's own values at places of its own for every image and every map: a permutation that were
    fixed could be learned. It follows from the image's input to the mechanism alone, coarsely rounded, so that it is
    the same in training and evaluation and in any batch. A map of one place stays as it is. A spatially partitioned
    program gathers the maps that it shuffles.

    Raises:
        UserError: the mechanism looks at nothing.
    """

    def __call__(self, x: Float[Array, "B *space C"], *, train: bool, **keywords: Any) -> Float[Array, "B *space C"]:
        images = fingerprint(x)
        looks = 0

        def shuffle(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            if context.method_name != "look" or not isinstance(context.module, Mechanism):
                return call(*args, **kwargs)
            return exchanged(call, *args, **kwargs)

        def exchanged(call: Any, kind: str, map: Array, layout: Layout | None = None) -> Any:
            nonlocal looks
            looks += 1
            return call(kind, permute(map, PLACES[kind], looks, images), layout)

        with nn.intercept_methods(shuffle):
            y = super().__call__(x, train=train, **keywords)
        if not looks:
            name = type(self).__name__.removeprefix("Shuffled")
            raise UserError(f"attention 'shuffled': {name} looks at no map; shuffle one that does, as 'shuffled:cbam'")
        return y


@functools.cache
def shuffle_maps(mechanism: type[nn.Module]) -> type[nn.Module]:
    """The class of `mechanism` with its maps shuffled: the same fields, placement and parameters."""
    return type(f"Shuffled{mechanism.__name__}", (Shuffled, mechanism), {"__doc__": Shuffled.__doc__})


def fingerprint(x: Float[Array, "B *space C"]) -> UInt32[Array, " B"]:
    """A number for each image, from a few sums of its values under fixed random signs.

    The sums are rounded to quarters of what is usual for values of this size: images of the same thing differ, rounding
    hardly ever counts.
    """
    wide = lax.stop_gradient(x).astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(1, x.ndim - 1))
    by_channel = jnp.dot(wide, _signs((x.shape[-1], SUMS), wide.dtype), precision="highest")
    sums = (by_channel * _signs((*x.shape[1:-1], SUMS), wide.dtype)).sum(axes)
    usual = jnp.sqrt(jnp.square(wide).sum((*axes, -1)))[:, None]
    levels = jnp.round(4 * sums / jnp.where(usual > 0, usual, 1)).astype(jnp.int32).astype(jnp.uint32)
    return (levels * (scrambled(_count(SUMS) + 1) | 1)).sum(-1, dtype=jnp.uint32)


def permute(
    map: Float[Array, "B *map"], places: slice, salt: int, images: UInt32[Array, " B"]
) -> Float[Array, "B *map"]:
    """`map` with the values along the axes `places`, taken as one, in an order that `salt` and `images` decide."""
    start, stop, _ = places.indices(map.ndim)
    before, count, after = (math.prod(map.shape[a:b]) for a, b in ((1, start), (start, stop), (stop, None)))
    ranks = scrambled(scrambled(images ^ jnp.uint32(salt))[:, None] + _count(count))
    order = jnp.argsort(ranks, axis=1)[:, None, :, None]
    return jnp.take_along_axis(map.reshape(-1, before, count, after), order, axis=2).reshape(map.shape)


def scrambled(numbers: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Random-looking numbers, different where the given ones are: the last step of MurmurHash3.

    It compiles many times as fast as jax.random, and gives the same everywhere.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        numbers = (numbers ^ (numbers >> shift)) * jnp.uint32(factor)
    return numbers


def _count(stop: int) -> UInt32[Array, " stop"]:
    return jnp.arange(stop, dtype=jnp.uint32)


def _signs(shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Plus and minus one."""
    return 1 - 2 * (scrambled(_count(math.prod(shape)) + 1).reshape(shape) & 1).astype(dtype)
