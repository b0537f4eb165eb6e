"""Steps of a network with a mechanism, as pure functions of arrays, for those that compile or time them."""

import time
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
    `mechanisms()` gives the shapes of what the network's mechanisms give back."""

    train: Callable[..., Any]
    infer: Callable[..., Any]
    init: Callable[..., Any]
    mechanisms: Callable[[], Any]
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

    def mechanisms():
        def is_mechanism(module, method):
            return method == "__call__" and (module.name or "").endswith("attention")

        def run(params, statistics, images):
            variables = {"params": params, "batch_stats": statistics}
            options = {"capture_intermediates": is_mechanism, "mutable": ["intermediates"]}
            return model.apply(variables, images, train=False, **options)[1]

        return jax.eval_shape(run, *shapes[:2], images)

    images = jax.ShapeDtypeStruct((batch, size, size, 3), dtype)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return Steps(train, infer, init, mechanisms, (*shapes, images, labels))


def compiled(network: str, attention: str, *, batch: int, size: int = 224) -> tuple[dict[str, Callable[[], Any]], int]:
    """`"train"` and `"infer"`, each of which does a step and waits for it; and the bytes that the training step holds
    at its peak, arguments included."""
    steps = make(network, attention, batch=batch, size=size)
    params, statistics, _, images, labels = steps.shapes
    train = jax.jit(steps.train, donate_argnums=(0, 1, 2)).lower(*steps.shapes).compile()
    infer = jax.jit(steps.infer).lower(params, statistics, images).compile()
    examples = jax.random.normal(jax.random.key(1), images.shape), jnp.arange(batch, dtype=labels.dtype)
    kept = jax.jit(steps.init)(jax.random.key(0))
    trained = [jax.tree.map(jnp.copy, kept)]

    def train_once() -> None:
        trained[:] = [jax.block_until_ready(train(*trained[0], *examples))]

    memory = train.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    return {"train": train_once, "infer": lambda: jax.block_until_ready(infer(*kept[:2], examples[0]))}, held


def seconds(step: Callable[[], Any], count: int = 1) -> float:
    """How long a step takes after another of its kind: the mean of `count`."""
    step()
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count
