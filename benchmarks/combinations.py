"""Every mechanism in every network, wherever it may stand: builds, and has a gradient.

    python benchmarks/combinations.py --networks resnet18 densenet121

Each combination is traced, forward and backward, which finds whether shapes fit, whether the mechanism stands where it
was asked for and whether every operation can be differentiated. Networks are an eighth as wide, for images of 32
pixels, with one block in a stage (VGG's first has two); those that then are the same count once. Convolutions and
pooling have their plain formulation. Prints a line for each network, one for each combination that fails, and ends with
1 if any did. tests/models/test_combinations.py does it for every pair of choices.
"""

import argparse
import contextlib
import dataclasses
import functools
import gc
import itertools
import re
import sys
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import flax
import jax
import jax.numpy as jnp
from jax import lax

from attn_jax import attention, models
from attn_jax.errors import UserError
from attn_jax.models.slot import PLACEMENTS, make_slot

IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
STAGES = {"usual": slice(0), "all": slice(None), "first": slice(1), "last": slice(-1, None)}
Row = tuple[str, str, str, str]
"""Mechanism, network, placement, stages."""


def fitting(mechanism: str) -> list[str]:
    """The placements in which it may stand."""

    def fits(placement: str) -> bool:
        with contextlib.suppress(UserError):
            return bool(make_slot(attention.create(mechanism), placement))
        return False

    return [placement for placement in PLACEMENTS if fits(placement)]


def small(name: str, **options: Any) -> Any:
    """The network, narrow and shallow."""
    model: Any = models.create(name, num_classes=3, width=1 / 8, stem="small", **options)
    if hasattr(model, "TABLE"):
        own = [field.name for field in dataclasses.fields(model) if field.name not in ("parent", "name")]
        return shallow(type(model))(**{field: getattr(model, field) for field in own})
    # VGG's very first convolution cannot be replaced.
    blocks = (2 if isinstance(model, models.VGG) else 1,) + (1,) * (len(model.stages) - 1)
    return model.clone(**{"layers" if isinstance(model, models.DenseNet) else "blocks": blocks})


@functools.cache
def shallow(network: Any) -> Any:
    """The class of a network whose blocks are counted in its `TABLE`, with one in each stage."""
    return type(network.__name__, (network,), {"TABLE": tuple((*row[:-2], 1, row[-1]) for row in network.TABLE)})


NETWORKS = sorted({small(name): name for name in reversed(models.MODELS)}.values(), key=list(models.MODELS).index)
FITTING = {mechanism: fitting(mechanism) for mechanism in attention.MECHANISMS}
PRODUCT: list[Row] = [
    (mechanism, network, placement, stages)
    for network, mechanism, stages in itertools.product(NETWORKS, FITTING, STAGES)
    for placement in FITTING[mechanism]
]


def shapes(model: Any) -> dict[str, Any]:
    """Of the network's parameters and running statistics."""
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), IMAGES)
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


def gradients(model: Any, variables: dict[str, Any], x: jax.Array) -> tuple[Any, Any]:
    """Of a number in the parameters and the images; and what the mechanisms gave back."""

    def is_mechanism(module: Any, method: str) -> bool:
        return method == "__call__" and "attention" in (module.name or "")

    def loss(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        logits, state = model.apply(
            {**variables, "params": params},
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            rngs={"dropout": jax.random.key(1)},
            capture_intermediates=is_mechanism,
        )
        return (logits * jnp.arange(1, logits.size + 1).reshape(logits.shape)).sum(), state["intermediates"]

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)


@contextlib.contextmanager
def quick_tracing() -> Iterator[None]:
    """Plain formulations, and no search for garbage, which takes a third of the time."""
    gc.disable()
    try:
        with mock.patch.object(lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments)):
            yield
    finally:
        gc.enable()


def trace(row: Row) -> None:
    """Builds the network and its gradient. Raises an AssertionError where either is not what it should be."""
    mechanism, network, placement, stages = row
    chosen = small(network).stages[STAGES[stages]]
    model = small(network, attention=mechanism, placement=placement, stages=chosen)
    variables = shapes(model)
    (params, images), seen = jax.eval_shape(lambda v, x: gradients(model, v, x), variables, IMAGES)
    assert params == variables["params"] and images == IMAGES, "the gradient has other shapes than the parameters"
    # VGG's stem is the first block of its first stage.
    found = {re.match(r"stage(\d)|stem", path[0])[1] or "1" for path in flax.traverse_util.flatten_dict(seen)}
    wanted = set(map(str, chosen or model.attention.stages))
    assert found == wanted, f"mechanisms are in stages {sorted(found)}, not {sorted(wanted)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS, metavar="NAME")
    options = parser.parse_args()
    failed = 0
    for network in options.networks:
        rows, start = [row for row in PRODUCT if row[1] == network], time.perf_counter()
        for row in rows:
            try:
                with quick_tracing():
                    trace(row)
            except Exception as error:
                failed += 1
                print(f"{' '.join(row)}: {type(error).__name__}: {error}", flush=True)
        print(f"{network}: {len(rows)} combinations in {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
