"""Compares a mechanism with a golden of tests/goldens/attention: output and gradients, in float64 and in float32."""

import functools
import pathlib
import runpy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from often import often

from attn_jax import attention

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
HASH = runpy.run_path(str(GOLDENS / "hash_weights.py"))
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}

Layout = Callable[[np.ndarray], np.ndarray]


class Parity(NamedTuple):
    """How a mechanism of ours stands to a golden.

    Attributes:
        mechanism: its name in the registry.
        options: its fields.
        names: from our module's path, or our variable's (`"mlp/fc1"`, `"table"`), to the golden's name for it; where a
            module is named, `kernel` and `scale` are its `weight`, `mean` and `var` its running statistics.
        layouts: for some of our variables (`"qkv/kernel"`), from the golden's array to ours by moving numbers about; by
            default kernels have their first two axes moved to the end and swapped, all else is reshaped.
        keywords: further arguments of our call, made from the input [B, *space, C].
    """

    mechanism: str
    options: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}
    layouts: Mapping[str, Layout] = {}
    keywords: Callable[[Any], Mapping[str, Any]] = lambda x: {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Goldens of volumes are for the full suite: each takes seconds to compile."""
    for item in items:
        if str(getattr(item, "callspec", None) and item.callspec.params.get("golden")).endswith("_3d"):
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session", params=often(attention.MECHANISMS))
def name(request: pytest.FixtureRequest) -> str:
    """Every mechanism, most of them in the full suite only."""
    return request.param


@pytest.fixture(scope="session")
def stirred() -> Callable[[Any], Any]:
    """Makes variables that are far from those of the start, where many mechanisms are the identity; variances stay
    above 0."""

    def stir(path: tuple[Any, ...], leaf: Any, rng: np.random.Generator) -> Any:
        noise = rng.standard_normal(leaf.shape)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        moved = leaf * np.exp(0.3 * noise) if path[-1].key == "var" else leaf + 0.3 * noise
        return np.asarray(moved, leaf.dtype)

    def stirred_(variables: Any) -> Any:
        rng = np.random.default_rng(2)
        return jax.tree_util.tree_map_with_path(lambda path, leaf: stir(path, leaf, rng), variables)

    return stirred_


TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}
"""Of the largest number of each array."""


@pytest.fixture(params=[np.float64, pytest.param(np.float32, marks=pytest.mark.full)], ids=["f64", "f32"])
def check_parity(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`check_parity(golden, mechanism=..., names=..., ...)` asserts that a mechanism equals a golden; see `Parity`."""

    def check(golden: str, **facts: Any) -> None:
        for what, error in errors(golden, Parity(**facts), request.param).items():
            assert error <= TOLERANCE[request.param], f"{what}: differs by {error:.2g} of its largest number"

    return check


def errors(name: str, parity: Parity, dtype: type) -> dict[str, float]:
    """By how much, of its largest number, each array of the golden differs from ours."""
    golden = np.load(GOLDENS / "attention" / f"{name}.npz")
    found = {}
    for index in range(sum(key.startswith("shape_") for key in golden)):
        found |= _errors_of_shape(golden, index, parity, dtype)
    return found


def _errors_of_shape(golden: Any, index: int, parity: Parity, dtype: type) -> dict[str, float]:
    torch_shapes = dict(line.split(":") for line in golden[f"tensors_{index}"].tolist())
    shapes = {key: tuple(map(int, filter(None, text.split(",")))) for key, text in torch_shapes.items()}
    used = set()

    def places(path: tuple[Any, ...], leaf: Any) -> tuple[str, np.ndarray]:
        """The golden's name of a variable, and the flat index of each of our numbers in it."""
        key, layout = _name(path, parity)
        assert key in shapes, f"{'/'.join(path)} -> {key}, but the golden has {sorted(shapes)}"
        used.add(key)
        theirs = np.arange(np.prod(shapes[key], dtype=int)).reshape(shapes[key])
        placed = layout(theirs)
        return key, placed.reshape(leaf.shape)

    with jax.enable_x64(dtype is np.float64):
        module = attention.create(parity.mechanism, param_dtype=dtype, **parity.options)
        shape = tuple(golden[f"shape_{index}"])
        x = jnp.asarray(np.moveaxis(HASH["signed"](shape, 12345), 1, -1), dtype)
        keywords = parity.keywords(x)
        abstract = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False, **keywords))
        where = _map(lambda path, leaf: places(path[1:], leaf), abstract)
        variables = _map(lambda path, leaf: jnp.asarray(_value(shapes, *_get(where, path)), dtype), abstract)
        missing = set(shapes) - used
        assert not missing, f"not used by ours: {sorted(missing)}"

        @jax.jit
        def run(params: Any, x: Any) -> Any:
            def loss(params: Any, x: Any) -> Any:
                both = {**variables, "params": params}
                y, _ = module.apply(both, x, train=index == 0, mutable=["batch_stats"], **parity.keywords(x))
                direction = HASH["signed"]((y.shape[0], y.shape[-1], *y.shape[1:-1]), 777)
                return (y * jnp.asarray(np.moveaxis(direction, 1, -1), dtype)).sum(), y

            (_, y), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)
            return y, *gradients

        y, parameters, dx = jax.device_get(run(variables.get("params", {}), x))
    results = {"output": np.moveaxis(y, -1, 1), "input_gradient": np.moveaxis(dx, -1, 1)}
    if watched := str(golden["watched"]):
        gradient = np.full(np.prod(shapes[watched], dtype=int), np.nan, y.dtype)
        _map(lambda path, leaf: _scatter(gradient, watched, *_get(where, ("params", *path)), leaf), parameters)
        results["parameter_gradient"] = gradient
    found = {}
    for kind, ours in results.items():
        wanted, kept = golden[f"{kind}_{index}"], HASH["sampled"](ours)
        assert ours.dtype == dtype and kept.shape == wanted.shape
        found[f"{kind}_{index}, shape {shape}"] = float(np.abs(kept - wanted).max() / (np.abs(wanted).max() or 1))
    return found


def _name(path: tuple[Any, ...], parity: Parity) -> tuple[str, Layout]:
    *module, leaf = path
    whole, outer = "/".join(path), "/".join(module)
    if whole in parity.names:
        key = parity.names[whole]
    else:
        assert outer in parity.names, f"no name for our {whole}"
        key = f"{parity.names[outer]}.{LEAVES[leaf]}"
    default = functools.partial(np.moveaxis, source=(0, 1), destination=(-1, -2)) if leaf == "kernel" else np.asarray
    return key, parity.layouts.get(whole, default)


def _value(shapes: Mapping[str, tuple[int, ...]], key: str, places: np.ndarray) -> np.ndarray:
    return HASH["weight"](key, shapes[key]).ravel()[places]


def _scatter(gradient: np.ndarray, watched: str, key: str, places: np.ndarray, leaf: np.ndarray) -> None:
    if key == watched:
        gradient[places] = leaf


def _map(function: Callable[[tuple[Any, ...], Any], Any], tree: Any) -> Any:
    """`tree` of nested dicts with `function(path, leaf)` for its leaves."""

    def visit(path: tuple[Any, ...], node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: visit((*path, key), child) for key, child in node.items()}
        return function(path, node)

    return visit((), tree)


def _get(tree: Any, path: tuple[Any, ...]) -> Any:
    return functools.reduce(lambda node, key: node[key], path, tree)
