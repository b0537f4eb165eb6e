"""The one training step, pure and ignorant of devices; `mesh` wraps it with `jit` or `pmap`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from attn_jax.data.augment import example_keys
from attn_jax.tasks import Classification
from attn_jax.training.state import TrainState

Batch = Mapping[str, Any]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
PredictStep = Callable[[Any, Batch], jax.Array]


def make_train_step(
    model: nn.Module,
    task: Classification,
    optimizer: optax.GradientTransformation,
    axis_name: str | None = None,
    *,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    frozen: tuple[str, ...] = (),
) -> TrainStep:
    """`(state, batch) -> (state, metrics)`, the same numbers under `jit` over a mesh and under `pmap`.

    Args:
        model: a network with a field `axis_name`, which is set to the argument of that name.
        task: gives the summed loss and its weight.
        optimizer: of optax.
        axis_name: the mapped axis under `pmap`: losses, gradients and batch statistics are reduced over it.
        accumulate: parts the batch is cut into, one after the other, whose gradients make one update.
        ema_decay: of the moving average of the parameters, where the state keeps one.
        frozen: modules whose path starts so get no gradient, which below the first that moves is not computed at all.

    The metrics are `loss` (weighted mean over the global batch) and `grad_norm`.
    """
    model = model.clone(axis_name=axis_name)

    def over_devices(tree: Any) -> Any:
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    def loss(params: Any, batch_stats: Any, state: TrainState, number: jax.Array, part: Batch) -> tuple[jax.Array, Any]:
        params = {
            module: jax.lax.stop_gradient(own) if module.startswith(frozen) else own for module, own in params.items()
        }
        variables = {"params": params, "batch_stats": batch_stats, "constants": state.constants}
        keys = example_keys(state.rng, state.step, part["index"])
        return task.loss(model, variables, part, keys, _dropout_key(state, number))

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        def one(
            carry: tuple[Any, Any, Any, Any], numbered: tuple[jax.Array, Batch]
        ) -> tuple[tuple[Any, Any, Any, Any], None]:
            gradients, total, weight, batch_stats = carry
            (part_total, (part_weight, batch_stats)), part_gradients = jax.value_and_grad(loss, has_aux=True)(
                state.params, batch_stats, state, *numbered
            )
            gradients = jax.tree.map(jnp.add, gradients, part_gradients)
            return (gradients, total + part_total, weight + part_weight, batch_stats), None

        zero = jnp.zeros((), state.constants["mean"].dtype)
        carry = (jax.tree.map(jnp.zeros_like, state.params), zero, zero, state.batch_stats)
        if accumulate == 1:
            carry, _ = one(carry, (jnp.zeros((), jnp.uint32), batch))
        else:
            numbers = jnp.arange(accumulate, dtype=jnp.uint32)
            carry, _ = jax.lax.scan(one, carry, (numbers, _parts(batch, accumulate)))
        gradients, total, weight, batch_stats = carry
        gradients, total, weight = over_devices((gradients, total, weight))
        weight = jnp.maximum(weight, jnp.finfo(weight.dtype).tiny)
        gradients = jax.tree.map(lambda g: g / weight.astype(g.dtype), gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema:
            ema = optax.incremental_update(params, ema, 1 - ema_decay)
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state, ema=ema)
        return state, {"loss": total / weight, "grad_norm": optax.tree.norm(gradients)}

    return train_step


def make_predict_step(model: nn.Module, task: Classification, axis_name: str | None = None) -> PredictStep:
    """`(variables, batch) -> scores [B, K]`; under `pmap` every device gets the scores of all."""

    def predict_step(variables: Any, batch: Batch) -> jax.Array:
        scores = task.predict(model, variables, batch)
        return scores if axis_name is None else jax.lax.all_gather(scores, axis_name, tiled=True)

    return predict_step


def _dropout_key(state: TrainState, part: jax.Array) -> jax.Array:
    """Of one part of a step's batch, the same on all devices; no image has it, whose places are below 2**31."""
    return jax.random.fold_in(jax.random.fold_in(state.rng, state.step), jnp.uint32(2**31) + part)


def _parts(batch: Batch, count: int) -> Batch:
    """[B, ...] -> [count, B / count, ...], with every part spread over all devices that share the batch."""
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1), batch)
