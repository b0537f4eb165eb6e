"""The grid of a study: what varies, and the points it spans."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from attn_jax import attention, models
from attn_jax.errors import UserError, did_you_mean
from attn_jax.study.axes import AXES

Point = dict[str, Any]


def expand(config: ConfigDict) -> list[Point]:
    """All points of `config.grid`, in the order they are run: one seed of everything before the next seed.

    A point that is tested on another data set brings the point tested on its own along, whose training it shares.

    Raises:
        UserError: an axis or a value that nothing knows, or `config.only` that leaves no point.
    """
    axes = {name: _values(config, name, tuple(config.grid[name])) for name in config.grid if len(config.grid[name])}
    for name in axes:
        if name not in AXES:
            raise UserError(f"config.grid.{name} is no axis of the grid.{did_you_mean(name, AXES)}")
    order = [name for name in AXES if name in axes and name != "tested_on"]
    points = [dict(zip(order, values, strict=True)) for values in itertools.product(*(axes[name] for name in order))]
    tests = axes.get("tested_on", ("",))
    tested = [
        {**point, "tested_on": test} if test else point
        for point in points
        for test in dict.fromkeys(("", *tests))
        if test != point.get("dataset", config.data.name)
    ]
    kept = [point for point in tested if _chosen(point, config.only, axes)]
    if not kept:
        raise UserError(f"config.only={config.only!r} leaves no cell of the grid; run with --list to see them all.")
    bases = [{name: value for name, value in point.items() if name != "tested_on"} for point in kept]
    return [point for point in tested if point in kept or point in bases]


def resolve(config: ConfigDict, point: Mapping[str, Any]) -> ConfigDict:
    """The config of one point: the grid's values put in their fields, the data set's fields in `data`."""
    resolved = ConfigDict(config.to_dict())
    with resolved.unlocked():
        if "dataset" in point:
            resolved.data.update(config.datasets[point["dataset"]])
            resolved.data.name = point["dataset"]
        for name, value in point.items():
            if AXES[name]:
                _assign(resolved, AXES[name], value)
        del resolved.grid, resolved.only, resolved.datasets
    return resolved.lock()


def external(config: ConfigDict, name: str) -> ConfigDict:
    """The `data` of another data set, read at the size and in the channels of `config.data`."""
    data = ConfigDict(config.data.to_dict())
    with data.unlocked():
        data.update(config.datasets[name])
        data.name, data.image_size, data.channels = name, config.data.image_size, config.data.channels
    return data


def _assign(config: ConfigDict, path: str, value: Any) -> None:
    *sections, field = path.split(".")
    for section in sections:
        config = config[section]
    config[field] = value


def _values(config: ConfigDict, name: str, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of an axis in the type of its field; `"a,b"` from the command line is two values."""
    if name not in AXES:
        return given
    if name == "stages":
        values: list[Any] = [tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in given]
    else:
        parts = itertools.chain.from_iterable(v.split(",") if isinstance(v, str) else (v,) for v in given)
        like = "" if not AXES[name] else field(config, AXES[name])
        values = [_cast(name, value, type(like)) for value in parts]
    for value in values:
        _check(config, name, value)
    return tuple(dict.fromkeys(values))


def field(config: ConfigDict, path: str) -> Any:
    """The value of a field by its dotted path."""
    for part in path.split("."):
        config = config[part]
    return config


def _cast(name: str, value: Any, kind: type) -> Any:
    if value is None:
        value = "none"
    try:
        cast = kind(value.strip() if isinstance(value, str) else value)
    except (OverflowError, TypeError, ValueError):
        cast = None
    if cast is None or (kind is int and float(value) != cast):
        raise UserError(f"config.grid.{name}: {value!r} is not of type {kind.__name__}.")
    return cast


def _check(config: ConfigDict, name: str, value: Any) -> None:
    known: Mapping[str, tuple[str, ...]] = {
        "dataset": tuple(config.datasets),
        "tested_on": ("", *config.datasets),
        "model": tuple(models.MODELS),
        "placement": ("", "block", "stage", "conv"),
        "sampling": ("natural", "balanced"),
        "class_weights": ("none", "balanced"),
        "stem": ("imagenet", "small"),
        "dtype": ("float32", "bfloat16"),
        "labels": ("true", "random"),
    }
    if name == "attention":
        try:
            attention.create(value)
        except UserError as error:
            raise UserError(f"config.grid.attention: {error}") from None
    elif name in known and value not in known[name]:
        raise UserError(f"config.grid.{name}={value!r} is unknown.{did_you_mean(value, filter(None, known[name]))}")


def _chosen(point: Point, only: str, axes: Mapping[str, tuple[Any, ...]]) -> bool:
    """Whether `only`, such as `attention=se|cbam,seed=0`, keeps a point."""
    for name, wanted in _clauses(only):
        if name not in axes:
            raise UserError(f"config.only: {name!r} is not varied by this grid.{did_you_mean(name, axes)}")
        for value in wanted:
            if value not in {str(v) for v in axes[name]} and not (name == "tested_on" and value == ""):
                raise UserError(f"config.only: {name}={value!r} is not in the grid: {', '.join(map(str, axes[name]))}.")
        if str(point.get(name, "")) not in wanted:
            return False
    return True


def _clauses(only: str) -> Iterator[tuple[str, list[str]]]:
    for clause in filter(None, only.split(",")):
        name, equals, values = clause.partition("=")
        if not equals:
            raise UserError(f"config.only: {clause!r} is not of the form axis=value or axis=value|value.")
        yield name.strip(), [value.strip() for value in values.split("|")]
