"""Whether a config makes sense: every wrong field and value is found before any data are read."""

import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from attn_jax import attention, progress
from attn_jax.data.augment import Augment
from attn_jax.data.phantom.cases import Settings
from attn_jax.data.sources import SOURCES
from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation.metrics import METRICS
from attn_jax.explain.layers import spatial_output
from attn_jax.explain.methods import METHODS as SALIENCY
from attn_jax.models import weights
from attn_jax.models.slot import PLACEMENTS
from attn_jax.study import grid
from attn_jax.study.build import abstract_variables, make_model
from attn_jax.study.defaults import default_config
from attn_jax.training.optimizer import make_optimizer

RULES: Mapping[str, Callable[[float], bool]] = {
    "at least 1": lambda value: value >= 1,
    "at least 0": lambda value: value >= 0,
    "above 0": lambda value: value > 0,
    "above 0 and below 1": lambda value: 0 < value < 1,
    "at least 0 and below 1": lambda value: 0 <= value < 1,
    "from 0 to 1": lambda value: 0 <= value <= 1,
    "from 0 to 4294967295": lambda value: 0 <= value < 2**32,
}
NUMBERS: Mapping[str, str] = {
    "seed": "from 0 to 4294967295",
    "data.image_size": "at least 1",
    "data.channels": "at least 1",
    "data.split.seed": "from 0 to 4294967295",
    "data.split.val": "above 0 and below 1",
    "data.split.test": "above 0 and below 1",
    "task.label_smoothing": "at least 0 and below 1",
    "task.focal_gamma": "at least 0",
    "model.width": "above 0",
    "optim.learning_rate": "above 0",
    "optim.weight_decay": "at least 0",
    "optim.momentum": "at least 0 and below 1",
    "optim.warmup_epochs": "at least 0",
    "optim.end_factor": "from 0 to 1",
    "optim.clip_norm": "at least 0",
    "optim.alpha_factor": "above 0",
    "optim.unfreeze_epoch": "at least 0",
    "training.epochs": "at least 1",
    "training.batch_size": "at least 1",
    "training.accumulate": "at least 1",
    "training.ema_decay": "at least 0 and below 1",
    "training.eval_every": "at least 1",
    "training.patience": "at least 0",
    "training.log_every": "at least 1",
    "training.checkpoint_seconds": "at least 0",
    "explain.gallery": "at least 0",
    "explain.scored": "at least 0",
    "report.margin": "above 0",
}
NAMES: Mapping[str, tuple[str, ...]] = {
    "data.source": tuple(SOURCES),
    "data.normalize": ("dataset", "imagenet", "half"),
    "data.labels": ("true", "random"),
    "model.placement": ("", *PLACEMENTS),
    "task.class_weights": ("none", "balanced"),
    "task.sampling": ("natural", "balanced"),
    "training.metric": ("loss", *METRICS),
    "report.metric": tuple(METRICS),
    "training.parallel": ("jit", "pmap"),
}
# Their fields are anybody's: options of what is named beside them, and data sets by name.
OPEN = ("model.attention_options", "optim.options", "datasets")
_OUTPUTS = 2  # the data decide, and nothing that is checked here depends on it


def check(config: ConfigDict) -> None:
    """Goes through a study's config and all cells of its grid; networks are traced, not run.

    Raises:
        UserError: a field is missing, unknown or of another type; a value is out of range or names nothing; the
            options of a cell do not fit together. The line says in which cell where not all have it.
    """
    with progress.task("checking the config"):
        _check_fields(config, default_config(), "config")
        for name, fields in config.datasets.items():
            _check_subset(fields, config.data, f"config.datasets.{name}")
        with _naming("config.baseline"):
            attention.create(config.baseline)
        points = grid.expand(config)
        traced: dict[str, Any | UserError] = {}
        wrong = [(point, error) for point in points if (error := _mistake(config, point, traced))]
    if wrong:
        point, error = wrong[0]
        cell = ", ".join(f"{name}={value}" for name, value in point.items())
        raise UserError(error if len(wrong) == len(points) else f"{error} (in the cell {cell})")


def _mistake(config: ConfigDict, point: grid.Point, traced: dict[str, Any | UserError]) -> str | None:
    """What is wrong with a cell; `traced` keeps what `_check_network` had to say of each network."""
    try:
        resolved = grid.resolve(config, point)
        _check_values(resolved)
        _check_data(resolved.data, f"config.datasets.{point['dataset']}" if "dataset" in point else "config.data")
        if point.get("tested_on"):
            _check_data(grid.external(config, point["tested_on"]), f"config.datasets.{point['tested_on']}")
        with _naming("config.augment"):
            Augment.from_config(resolved.augment)
        _check_optimizer(resolved.optim, _traced(resolved, traced))
        if resolved.optim.freeze and not (resolved.optim.unfreeze_epoch or resolved.model.weights):
            held = f"config.optim.freeze={tuple(resolved.optim.freeze)!r} would hold random weights for good"
            raise UserError(f"{held}; name a file in config.model.weights or set config.optim.unfreeze_epoch")
    except UserError as error:
        return str(error)
    return None


def _traced(config: ConfigDict, traced: dict[str, Any | UserError]) -> Any:
    data = config.data
    key = json.dumps(
        [config.model.to_dict(), config.explain.layer, data.image_size, data.channels, data.volume], default=str
    )
    if key not in traced:
        try:
            traced[key] = _check_network(config)
        except UserError as error:
            traced[key] = error
    if isinstance(traced[key], UserError):
        raise traced[key]
    return traced[key]


def _check_fields(given: ConfigDict, known: ConfigDict, here: str) -> None:
    """All fields of `known` are there, in their types, and no others."""
    for name in known:
        if name not in given:
            raise UserError(f"{here} lacks the field {name!r}; start from attn_jax.study.defaults.default_config()")
    _check_subset(given, known, here)


def _check_subset(given: Any, known: ConfigDict, here: str) -> None:
    if not isinstance(given, ConfigDict):
        raise UserError(f"{here}={given!r} must be a dict of fields")
    for name, value in given.items():
        place, inside = f"{here}.{name}", here.startswith("config.datasets")
        if name not in known:
            raise UserError(f"{place} is unknown.{did_you_mean(name, known)}")
        default = known[name]
        if place.removeprefix("config.") in OPEN and isinstance(value, ConfigDict):
            continue
        if isinstance(default, ConfigDict):
            (_check_subset if inside else _check_fields)(value, default, place)
        elif type(value) is not type(default) and not (type(default) is float and type(value) is int):
            raise UserError(f"{place}={value!r} must be of type {type(default).__name__}, such as {default!r}")


def _check_values(config: ConfigDict) -> None:
    for path, rule in NUMBERS.items():
        value = grid.field(config, path)
        if not (math.isfinite(value) and RULES[rule](value)):
            raise UserError(f"config.{path}={value} must be {rule}.")
    for path, known in NAMES.items():
        value = grid.field(config, path)
        if value not in known:
            raise UserError(f"config.{path}={value!r} is unknown.{did_you_mean(value, filter(None, known))}")
    for method in config.explain.methods:
        if method not in SALIENCY:
            raise UserError(f"config.explain.methods: {method!r} is unknown.{did_you_mean(method, SALIENCY)}")
    if config.training.batch_size % config.training.accumulate:
        raise UserError(
            f"config.training.batch_size={config.training.batch_size} must be a multiple of "
            f"config.training.accumulate={config.training.accumulate}."
        )


def _check_data(data: ConfigDict, here: str) -> None:
    """What can be said of a data set without opening it; `data.prepare` says the rest."""
    split = data.split
    if split.folds == 1 or split.folds < 0 or not 0 <= split.fold < max(split.folds, 1):
        raise UserError(
            f"{here}.split: folds={split.folds}, fold={split.fold}; give two or more folds and a fold below their "
            "number, or 0 and 0 for a single split."
        )
    held_out = 1 / split.folds if split.folds else split.test
    if split.val + held_out >= 1:
        raise UserError(f"{here}.split: val={split.val} and test={held_out:.3g} leave nothing to train on.")
    if data.path and data.source == "phantom":
        raise UserError(
            f"{here}.path={data.path!r} is not read where the source is 'phantom'; "
            f"set --{here}.source=folder, or the source that reads it."
        )
    if not data.path and data.volume:
        raise UserError(f"{here}.volume=True needs volumes: simulated images are flat; give --{here}.path=DIR.")
    if not data.path:
        with _naming(here):
            Settings.from_options(data)
    elif not pathlib.Path(data.path).expanduser().exists():
        raise UserError(f"{here}.path={data.path!r}: there is no such file or folder.")


def _check_network(config: ConfigDict) -> Any:
    """Traces the network, and returns the shapes of its parameters."""
    space = (config.data.image_size,) * (3 if config.data.volume else 2)
    with _naming("config.model"):
        model = make_model(config, _OUTPUTS)
        variables = abstract_variables(model, (*space, config.data.channels), _OUTPUTS)
    net = {"params": variables["params"], "batch_stats": variables["batch_stats"]}
    if config.model.weights:
        with _naming("config.model.weights"):
            weights.load(config.model.weights, net, rename=model.torch_name)
    if config.explain.layer:
        with _naming("config.explain.layer"):
            images: Any = jax.ShapeDtypeStruct((1, *space, config.data.channels), jnp.float32)
            spatial_output(model, net, images, config.explain.layer)
    return variables["params"]


def _check_optimizer(options: ConfigDict, params: Any) -> None:
    with _naming("config.optim"):
        optimizer, _ = make_optimizer(options, 10, 100, params)
        if options.options:
            jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p), p), params)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Puts the field in front of what is wrong; a mechanism's own exceptions become one line with their place."""
    try:
        yield
    except UserError as error:
        line = str(error)
        if line.startswith(field.removeprefix("config.")):
            line = f"config.{line}"
        raise UserError(line if line.startswith(field) else f"{field}: {line}") from error
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
        raise UserError(f"{field}: {type(error).__name__}: {' '.join(str(error).split())[:300]}{place}") from error
