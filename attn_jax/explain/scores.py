"""What is explained: the logit of a class; and how it is computed for many variants of a batch in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError


def class_score(logits: Float[Array, "B K"], targets: Int[Array, "B"]) -> Float[Array, "B"]:
    """Each image's logit of its target, float32; of one logit, 1 takes it and 0 its negative."""
    logits = logits.astype(jnp.float32)
    if logits.shape[-1] == 1:
        return jnp.where(targets == 1, logits[:, 0], -logits[:, 0])
    return jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]


def score(
    model: nn.Module, variables: Any, images: Float[Array, "B *space C"], targets: Int[Array, "B"]
) -> Float[Array, "B"]:
    """The `class_score` of images in evaluation mode."""
    logits: Any = model.apply(variables, images, train=False)
    return class_score(logits, targets)


def at_least_one(**counts: int) -> None:
    """Checks options that count something.

    Raises:
        UserError: one of them is below 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"{name}={count} must be at least 1")


def stacked(function: Callable[[Array], Array], count: int, at_once: int) -> Float[Array, "count *rest"]:
    """`function` of each of `arange(count)`; `at_once` of them run together (`vmap`), these groups in turn."""
    size, indices = _groups(count, at_once)
    return lax.map(function, indices % count, batch_size=size)[:count]


def summed(function: Callable[[Array], Array], count: int, at_once: int) -> Float[Array, "*rest"]:
    """The sum of `function` over `arange(count)`, `at_once` of them at a time; nothing else is kept."""
    size, indices = _groups(count, at_once)

    def step(total: Array, group: Array) -> tuple[Array, None]:
        values = jax.vmap(function)(group % count)
        real = (group < count).reshape(-1, *(1,) * (values.ndim - 1))
        return total + jnp.where(real, values, 0).sum(axis=0), None

    one = jax.eval_shape(function, indices[0])
    return lax.scan(step, jnp.zeros(one.shape, one.dtype), indices.reshape(-1, size))[0]


def _groups(count: int, at_once: int) -> tuple[int, Array]:
    """A group's size, and indices that fill whole groups: a smaller last one would compile the network once more."""
    size = min(count, max(at_once, 1))
    return size, jnp.arange(-(-count // size) * size)
