"""From a cell's config to what trains and evaluates it: network, task, optimiser, compiled steps, initial state."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from attn_jax import models, progress
from attn_jax.data.augment import Augment
from attn_jax.data.pipeline import TrainingBatches
from attn_jax.data.prepare import Prepared, normalisation
from attn_jax.errors import UserError, did_you_mean
from attn_jax.models import weights
from attn_jax.tasks import Classification
from attn_jax.tasks.classification import class_weights
from attn_jax.training import state as states
from attn_jax.training.loop import Plan
from attn_jax.training.mesh import Engine, make_engine
from attn_jax.training.optimizer import make_optimizer

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a cell needs to train: see `attn_jax.training.loop.fit`."""

    model: nn.Module
    task: Classification
    engine: Engine
    state: states.TrainState
    batches: TrainingBatches
    plan: Plan
    batch_size: int


def make_model(config: ConfigDict, outputs: int) -> nn.Module:
    """The network of `config.model` with `outputs` logits.

    Raises:
        UserError: what `models.create` refuses, or an unknown `model.dtype`.
    """
    options = config.model
    if options.dtype not in DTYPES:
        raise UserError(f"config.model.dtype={options.dtype!r} is unknown.{did_you_mean(options.dtype, DTYPES)}")
    plain = options.attention == "none"
    return models.create(
        options.name,
        num_classes=outputs,
        attention=options.attention,
        attention_options=None if plain else options.attention_options.to_dict(),
        placement=None if plain else options.placement or None,
        stages=options.stages,
        identity_start=options.identity_start and not plain,
        stem=options.stem,
        width=options.width,
        dtype=None if options.dtype == "float32" else DTYPES[options.dtype],
    )


def make_task(config: ConfigDict, outputs: int, kind: Literal["single", "multilabel"]) -> Classification:
    """The classification task, with the config's loss and augmentation."""
    return Classification(
        outputs=outputs,
        kind=kind,
        label_smoothing=config.task.label_smoothing,
        focal_gamma=config.task.focal_gamma,
        augmentation=Augment.from_config(config.augment),
    )


def make_constants(config: ConfigDict, data: Prepared) -> dict[str, jax.Array]:
    """`mean` and `std` of the images and the class weights, from the training part alone."""
    mean, std = normalisation(data, config.data.normalize)
    outputs = len(data.classes)
    how = config.task.class_weights
    if how not in ("none", "balanced"):
        raise UserError(f'config.task.class_weights={how!r} is unknown; use "none" or "balanced".')
    weight = class_weights(data.labels[data.rows("train")], outputs) if how == "balanced" else np.ones(outputs)
    values = {"mean": mean, "std": std, "class_weight": weight}
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


def training_labels(config: ConfigDict, data: Prepared) -> np.ndarray:
    """The labels of `data`; for `data.labels="random"` those of the training part are shuffled among its images.

    The data randomisation test of Adebayo et al. 2018, arXiv 1810.03292; `config.seed` shuffles.
    """
    if config.data.labels == "true":
        return data.labels
    labels, rows = data.labels.copy(), data.rows("train")
    labels[rows] = labels[np.random.default_rng([config.seed, 2]).permutation(rows)]
    return labels


def make_plan(config: ConfigDict, images: int) -> Plan:
    """Epochs in steps; an epoch of fewer images than a batch is one step.

    With shuffled labels the last parameters count, which have fitted them: those best on the true labels of the
    validation part have hardly begun to.
    """
    options = config.training
    steps = max(1, math.ceil(images / options.batch_size))
    return Plan(
        epochs=options.epochs,
        eval_every=options.eval_every,
        metric=options.metric,
        patience=options.patience,
        log_every=options.log_every,
        checkpoint_seconds=options.checkpoint_seconds,
        steps_per_epoch=steps,
        keep_last=config.data.labels == "random",
    )


def make_parts(config: ConfigDict, data: Prepared) -> Parts:
    """Everything a cell needs, initialised from `config.seed` and `config.model.weights`."""
    model, task = make_model(config, len(data.classes)), make_task(config, len(data.classes), data.kind)
    rows = data.rows("train")
    plan = make_plan(config, len(rows))
    image_shape = data.images.shape[1:]
    params = abstract_variables(model, image_shape, len(data.classes))["params"]
    optimizer, _ = make_optimizer(config.optim, plan.steps_per_epoch, plan.total_steps, params)
    options = config.training
    engine = make_engine(
        model,
        task,
        optimizer,
        parallel=options.parallel,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        ema_decay=options.ema_decay,
        frozen=() if config.optim.unfreeze_epoch else tuple(config.optim.freeze),
    )
    with progress.task("initialising the network"):
        state = states.create(
            model,
            optimizer,
            image_shape,
            make_constants(config, data),
            seed=config.seed,
            average=options.ema_decay > 0,
        )
    if config.model.weights:
        state = _pretrained(state, config.model.weights, model.torch_name)
    batches = TrainingBatches(
        data.images,
        training_labels(config, data),
        rows,
        batch_size=options.batch_size,
        seed=config.seed,
        sampling=config.task.sampling,
        pairs=config.augment.mixup > 0 or config.augment.cutmix > 0,
        shard=(jax.process_index(), jax.process_count()),
    )
    return Parts(model, task, engine, state, batches, plan, options.batch_size)


def abstract_variables(model: nn.Module, image_shape: tuple[int, ...], outputs: int) -> dict[str, Any]:
    """Shapes of the variables of a network for images of `image_shape` [*space, C]."""
    example = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), example)
    sizes = {"mean": image_shape[-1], "std": image_shape[-1], "class_weight": outputs}
    return {
        "params": variables["params"],
        "batch_stats": variables.get("batch_stats", {}),
        "constants": {name: jax.ShapeDtypeStruct((size,), jnp.float32) for name, size in sizes.items()},
    }


def _pretrained(state: states.TrainState, path: str, rename: weights.Rename) -> states.TrainState:
    loaded = weights.load(path, {"params": state.params, "batch_stats": state.batch_stats}, rename=rename)
    params = loaded["params"]
    return state.replace(
        params=params,
        batch_stats=loaded["batch_stats"],
        ema=jax.tree.map(jnp.copy, params) if state.ema else {},
    )
