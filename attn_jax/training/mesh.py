"""Running the step on several devices: `jit` over a named mesh, or `pmap`; both give the same numbers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from attn_jax import progress
from attn_jax.errors import UserError
from attn_jax.tasks import Classification
from attn_jax.training.step import PredictStep, TrainStep, make_predict_step, make_train_step

Parallel = Literal["jit", "pmap"]
AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Engine:
    """The compiled steps and how data reaches their devices.

    Attributes:
        train: `(state, batch) -> (state, metrics)`; the state passed in is used up.
        predict: `(variables, batch) -> scores [B, K]`, whole on every device.
        put_batch: a host's part of a batch -> arrays spread over the devices.
        put_state: a state or variables -> the same on every device.
        devices: those in use.
    """

    train: TrainStep
    predict: PredictStep
    put_batch: Callable[[Mapping[str, np.ndarray]], Mapping[str, jax.Array]]
    put_state: Callable[[Any], Any]
    devices: tuple[jax.Device, ...]

    def padded(self, batch_size: int) -> int:
        """The smallest batch of at least `batch_size` that the devices share evenly."""
        return -(-batch_size // len(self.devices)) * len(self.devices)


def make_engine(
    model: nn.Module,
    task: Classification,
    optimizer: optax.GradientTransformation,
    *,
    parallel: Parallel,
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    frozen: tuple[str, ...] = (),
) -> Engine:
    """Builds the steps for the devices there are.

    A batch that the devices cannot share evenly goes to the largest number of them that can: its statistics and its
    losses stay those of the whole batch. A line says so.

    Raises:
        UserError: `training.batch_size` is not a multiple of `training.accumulate`, or `training.parallel` is unknown.
    """
    if batch_size % accumulate:
        raise UserError(
            f"training.batch_size={batch_size} is not a multiple of training.accumulate={accumulate}; change one."
        )
    chosen = _share(tuple(devices or jax.devices()), batch_size // accumulate)
    build = {"jit": _jit_engine, "pmap": _pmap_engine}.get(parallel)
    if build is None:
        raise UserError(f'training.parallel={parallel!r} is unknown; use "jit" or "pmap".')
    options: dict[str, Any] = {"accumulate": accumulate, "ema_decay": ema_decay, "frozen": frozen}
    steps = functools.partial(make_train_step, model, task, optimizer, **options)
    return build(steps, functools.partial(make_predict_step, model, task), chosen)


def _share(devices: tuple[jax.Device, ...], examples: int) -> tuple[jax.Device, ...]:
    count = max(n for n in range(1, len(devices) + 1) if examples % n == 0)
    if count < len(devices):
        if jax.process_count() > 1:
            raise UserError(
                f"training.batch_size: {examples} images a step cannot be shared by {len(devices)} devices of "
                f"{jax.process_count()} hosts; use a multiple of {len(devices)}."
            )
        progress.message(f"{examples} images a step are shared by {count} of the {len(devices)} devices.")
    return devices[:count]


def _jit_engine(
    make_train: Callable[..., TrainStep], make_predict: Callable[..., PredictStep], devices: tuple
) -> Engine:
    mesh = jax.make_mesh((len(devices),), (AXIS,), devices=devices, axis_types=(AxisType.Auto,))
    split, whole = NamedSharding(mesh, PartitionSpec(AXIS)), NamedSharding(mesh, PartitionSpec())

    def put_batch(batch: Mapping[str, np.ndarray]) -> Mapping[str, jax.Array]:
        return {name: jax.make_array_from_process_local_data(split, value) for name, value in batch.items()}

    return Engine(
        train=jax.jit(make_train(), in_shardings=(whole, split), out_shardings=(whole, whole), donate_argnums=0),
        predict=jax.jit(make_predict(), in_shardings=(whole, split), out_shardings=whole),
        put_batch=put_batch,
        put_state=lambda tree: jax.device_put(tree, whole),
        devices=devices,
    )


def _pmap_engine(
    make_train: Callable[..., TrainStep], make_predict: Callable[..., PredictStep], devices: tuple
) -> Engine:
    local = [d for d in devices if d.process_index == jax.process_index()]

    def put_batch(batch: Mapping[str, np.ndarray]) -> Mapping[str, jax.Array]:
        return {name: value.reshape(len(local), -1, *value.shape[1:]) for name, value in batch.items()}

    mapped = functools.partial(jax.pmap, axis_name=AXIS, in_axes=(None, 0), devices=devices)
    return Engine(
        train=mapped(make_train(axis_name=AXIS), out_axes=(None, None)),
        predict=mapped(make_predict(axis_name=AXIS), out_axes=None),
        put_batch=put_batch,
        put_state=lambda tree: tree,
        devices=devices,
    )
