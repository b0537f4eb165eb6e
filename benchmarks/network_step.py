"""Steps of a network with a mechanism, as pure functions of arrays, for those that compile or time them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike

from attn_jax import models


class Steps(NamedTuple):
    """`train(params, statistics, state, images, labels)` gives the first three anew, one SGD step later;
    `infer(params, statistics, images)` gives logits; `init(key)` the first three; `shapes` are those of all five;
    `looked()` gives the shapes of what the network's mechanisms give back."""

    train: Callable[..., Any]
    infer: Callable[..., Any]
    init: Callable[..., Any]
    looked: Callable[[], Any]
    shapes: tuple[Any, ...]


def make(network: str, attention: str, *, batch: int, size: int = 224, dtype: DTypeLike = jnp.float32) -> Steps:
    """Steps of `network` with 1000 classes that computes in `dtype`; its parameters are in float32."""
    model: Any = models.create(network, num_classes=1000, attention=attention, dtype=dtype)
    optimizer = optax.sgd(0.01, momentum=0.9)

    def init(key):
        variables = model.init(key, jnp.zeros((1, size, size, 3), dtype), train=False)
        params, statistics = (variables[kind] for kind in ("params", "batch_stats"))
        return params, statistics, optimizer.init(params)

    def loss(params, statistics, images, labels):
        logits, new = model.apply(
            {"params": params, "batch_stats": statistics}, images, train=True, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
        return losses.mean(), new["batch_stats"]

    def train(params, statistics, state, images, labels):
        gradients, statistics = jax.grad(loss, has_aux=True)(params, statistics, images, labels)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), statistics, state

    def infer(params, statistics, images):
        return model.apply({"params": params, "batch_stats": statistics}, images, train=False)

    def looked():
        def is_mechanism(module, _):
            return (module.name or "").endswith("attention")

        def run(params, statistics, images):
            variables = {"params": params, "batch_stats": statistics}
            options = {"capture_intermediates": is_mechanism, "mutable": ["intermediates"]}
            return model.apply(variables, images, train=False, **options)[1]

        return jax.eval_shape(run, *shapes[:2], images)

    images = jax.ShapeDtypeStruct((batch, size, size, 3), dtype)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return Steps(train, infer, init, looked, (*shapes, images, labels))
