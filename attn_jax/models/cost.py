"""What a network costs: parameters, and multiply-accumulates counted on its program."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax


def parameters(variables: Mapping[str, Any]) -> int:
    """Number of trained numbers in `variables["params"]` (arrays or their shapes)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


def macs(function: Callable[..., Any], *args: Any) -> int:
    """Multiply-accumulates of the convolutions and matrix products of `function(*args)` in its plain formulation.

    Nothing runs: arrays or `jax.ShapeDtypeStruct` are as good. Products with padding count; elementwise work does not.
    A scan counts its length times, a while loop once, and of alternatives (`cond`) the dearest counts; but where the
    program chooses by platform (`lax.platform_dependent`), its `default` does: what a formulation that is fast on one
    platform adds or saves is no property of the network.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(program: Any) -> int:
    return sum(_cost(equation) for equation in program.eqns)


def _cost(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, features = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec[0]
        return math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // kernel[features]
    inner = [_count(program) for value in params.values() for program in _programs(value)]
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        return inner[platforms.index(None)] if None in platforms else max(inner)
    return sum(inner) * params.get("length", 1) if name == "scan" else sum(inner)


def _programs(value: Any) -> Iterator[Any]:
    """The programs in an equation's parameter."""
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _programs(item)
