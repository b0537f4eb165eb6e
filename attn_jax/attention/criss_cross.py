"""CCNet: Criss-Cross Attention for Semantic Segmentation, arXiv 1811.11721.

In a volume each position lies on three lines and counts once in the softmax; the authors' 3-D code leaves it in two of
the three. Their network reduces the channels to a quarter first, which is the caller's business here.
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.layers import reduced
from attn_jax.layers.initializers import torch_uniform

AXES = "hwduv"


class CrissCross(Mechanism):
    """Adds to each position what it finds on the lines through it, along every axis; `recurrence` times over.

    One set of weights serves all passes; the second reaches the whole image, a third a whole volume. Each pass sows its
    weights, `"token"` [B, 1, N, P]: of the N positions, in row-major order, over the lines' P = H + W places, those
    along the first axis first. The factor of what is added starts at zero: at initialisation this is the identity.

    Raises:
        UserError: `recurrence` is less than 1.
    """

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (4,)
    starts_as_identity: ClassVar[bool] = True

    reduction: int = 8
    recurrence: int = 2
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.recurrence < 1:
            raise UserError(f"attention 'criss_cross': recurrence={self.recurrence!r} is not 1 pass or more")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        settings: dict[str, Any] = {
            "kernel_init": torch_uniform,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        x = x.astype(self.dtype or x.dtype)
        hidden = reduced(x.shape[-1], self.reduction)
        query, key = nn.Dense(hidden, name="query", **settings), nn.Dense(hidden, name="key", **settings)
        value = nn.Dense(x.shape[-1], name="value", **settings)
        gamma = self.param("gamma", nn.initializers.zeros, (), self.param_dtype)
        layout = functools.partial(lay_out, space=x.shape[1:-1])
        for _ in range(self.recurrence):
            weights = jax.nn.softmax(line_logits(query(x), key(x)), axis=-1)
            seen = self.look("token", weights.reshape(x.shape[0], 1, -1, weights.shape[-1]), layout)
            y = attend_lines(seen.reshape(weights.shape), value(x))
            x = x + (gamma * y).astype(x.dtype)
        return x


def line_logits(queries: Float[Array, "B *space E"], keys: Float[Array, "B *space E"]) -> Float[Array, "B *space P"]:
    """The products of each position's query with the keys on the lines through it, in at least float32.

    The lines follow each other in the order of the axes. Their crossing counts on the last; on the others it is minus
    infinity.
    """
    wide = jnp.promote_types(queries.dtype, jnp.float32)
    space = AXES[: queries.ndim - 2]
    lines = []
    for axis, letter in enumerate(space):
        along = space.replace(letter, "m")
        line = jnp.einsum(f"b{space}e,b{along}e->b{space}m", queries, keys, preferred_element_type=wide)
        if axis < len(space) - 1:
            side = line.shape[-1]
            crossing = np.eye(side, dtype=bool).reshape(side, *[1] * (len(space) - 1 - axis), side)
            line = jnp.where(crossing, -jnp.inf, line)
        lines.append(line)
    return jnp.concatenate(lines, axis=-1)


def attend_lines(weights: Float[Array, "B *space P"], values: Float[Array, "B *space C"]) -> Float[Array, "B *space C"]:
    """The sums of the values on the lines through each position with the weights that `line_logits` orders."""
    space = AXES[: values.ndim - 2]
    ends = np.cumsum(values.shape[1:-1])
    parts = jnp.split(weights.astype(values.dtype), ends[:-1], axis=-1)
    along = (space.replace(letter, "m") for letter in space)
    seen = (jnp.einsum(f"b{space}m,b{a}c->b{space}c", part, values) for a, part in zip(along, parts, strict=True))
    return functools.reduce(jnp.add, seen)


def lay_out(map: Float[Array, "B K N P"], space: tuple[int, ...]) -> Float[Array, "B K *space_and_space"]:
    """A map of lines with its places where they stand in the image, for each position: zero off the lines."""
    here, there = AXES[: len(space)], AXES[: len(space)].upper()
    lines = jnp.split(map.reshape(*map.shape[:2], *space, -1), np.cumsum(space)[:-1], axis=-1)
    placed = []
    for axis, line in enumerate(lines):
        others = [i for i in range(len(space)) if i != axis]
        form = ",".join([f"bk{here}{there[axis]}", *(here[i] + there[i] for i in others)])
        placed.append(
            jnp.einsum(f"{form}->bk{here}{there}", line, *(np.eye(space[i], dtype=map.dtype) for i in others))
        )
    return functools.reduce(jnp.add, placed)
