"""On eight devices, images or their rows are not gathered unless the mathematics of a mechanism asks for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from attn_jax import attention
from attn_jax.models.gathers import Transfer, transfers

MUST_GATHER = {
    "non_local": "each query needs the keys and values of all positions",
    "criss_cross": "each query needs the keys and values of its column, whose rows lie on several devices",
    "dual": "each query of its attention of positions needs the keys and values of all positions",
    "aa": "each query needs the keys and values of all positions",
    "mhsa": "each query needs the keys and values of all positions",
}
"""Where space is sharded; the batch is never gathered."""

SHAPE = (8, 32, 16, 64)
MESHES = {
    "batch": ((8,), PartitionSpec("data")),
    "space": ((2, 4), PartitionSpec("data", "space")),
}
LEAST = {"all-gather": 1 / 128, "all-to-all": 1 / 128, "ragged-all-to-all": 1 / 128, "all-reduce": 1 / 2}
"""The share of the input's numbers from which on the result on one device is an activation.

Gathered over space, a map of one channel is 1/128 and a strip of positions along an axis more, but a number for each
image and channel 1/1024. A sum over devices is what reductions over space and the gradients of parameters need: only
one as large as the input's channels over all of space is taken for a gather.
"""


def gathered(mechanism: str, sharding: str, **options: object) -> list[Transfer]:
    """The activations that the mechanism in training, or its gradient, gathers."""
    return activations(attention.create(mechanism, **options), sharding)


def activations(module, sharding, more=None):
    """The same of any module; `more` are the shapes of further arguments, split as the input is."""
    shapes = {"x": SHAPE, **(more or {})}
    inputs = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    variables = jax.eval_shape(lambda key, inputs: module.init(key, **inputs, train=False), jax.random.key(0), inputs)
    compiled = jitted(module, sharding).lower(variables, inputs).compile().as_text()
    return [t for t in transfers(compiled) if t.elements >= LEAST[t.operation] * np.prod(SHAPE)]


def jitted(module, sharding=None):
    """Output, gradients and running statistics of a module in training, where told on eight devices."""

    def run(variables, inputs):
        statistics = {name: variables[name] for name in variables if name == "batch_stats"}

        def apply(params, inputs):
            return module.apply({"params": params, **statistics}, **inputs, train=True, mutable=["batch_stats"])

        y, pull, statistics = jax.vjp(apply, variables.get("params", {}), inputs, has_aux=True)
        return (y, pull(jnp.sin(y))), statistics

    if sharding is None:
        return jax.jit(run)
    sides, spec = MESHES[sharding]
    mesh = jax.make_mesh(sides, ("data", "space")[: len(sides)], axis_types=(AxisType.Auto,) * len(sides))
    split, whole = NamedSharding(mesh, spec), NamedSharding(mesh, PartitionSpec())
    return jax.jit(run, in_shardings=(whole, split), out_shardings=((split, (whole, split)), whole))


@pytest.mark.full
def test_shared_among_devices_the_numbers_are_the_same(name, stirred):
    """Rows of images on several devices; images on several are in test_usage.py."""
    with jax.enable_x64(True):
        module = attention.create(
            name, **({"param_dtype": np.float64} if hasattr(attention.MECHANISMS[name], "param_dtype") else {})
        )
        inputs = {"x": np.random.default_rng(0).standard_normal(SHAPE)}
        variables = jax.jit(lambda key, x: module.init(key, x, train=False))(jax.random.key(0), inputs["x"])
        variables = stirred(variables)
        alone, shared = (jax.device_get(jitted(module, way)(variables, inputs)) for way in (None, "space"))
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(shared), strict=True):
        assert one.dtype == np.float64
        # A bias before a normalisation has a gradient of nothing but rounding.
        assert np.abs(one - other).max() <= 1e-9 * max(np.abs(one).max(), 1.0)


def test_a_gates_signal_stays_where_it_is():
    coarse = (SHAPE[0], SHAPE[1] // 2, SHAPE[2] // 2, 48)
    for sharding in MESHES:
        assert not activations(attention.create("gate"), sharding, {"signal": coarse})


@pytest.mark.parametrize("sharding", ["space", pytest.param("batch", marks=pytest.mark.full)])
def test_only_what_must_is_gathered(name, sharding):
    found = gathered(name, sharding)
    assert bool(found) == (sharding == "space" and name in MUST_GATHER), found


@pytest.mark.full
def test_only_what_must_is_gathered_of_volumes(name, monkeypatch):
    """Deep enough for each device to have the slices that the windows of its neighbours reach into."""
    if name == "fca":
        pytest.skip("its definition has two axes")
    monkeypatch.setitem(globals(), "SHAPE", (8, 64, 4, 4, 16))
    # The gradients of 7 x 7 x 7 kernels, which are summed, are no smaller than these few channels.
    found = [t for t in gathered(name, "space") if t.operation != "all-reduce"]
    assert bool(found) == (name in MUST_GATHER), found


# What the defaults do not reach: mechanism, options, why it must gather where space is sharded.
VARIANTS = {
    "ge theta": ("ge", {"variant": "theta"}, "its kernel is as large as the map, and every device holds it"),
    "ge theta of 2": ("ge", {"variant": "theta", "extent": 2}, ""),
    "ge theta minus of 4": ("ge", {"extent": 4}, ""),
    "ge theta plus of 8": ("ge", {"variant": "theta_plus", "extent": 8}, ""),
    "gc mul": ("gc", {"fusion": "mul"}, ""),
    "bam add": ("bam", {"fusion": "add"}, ""),
    "gate residual": ("gate", {"mode": "concatenation_residual"}, ""),
    "non_local pool": ("non_local", {"pool": 2}, "each query needs all keys and values, if fewer"),
    "sk strided": ("sk", {"strides": 2}, ""),
    "split strided": ("split", {"strides": 2}, ""),
    "halo strided": ("halo", {"strides": 2}, ""),
    "lambda strided": ("lambda", {"strides": 2}, ""),
    "aa strided": ("aa", {"strides": 2}, MUST_GATHER["aa"]),
    "mhsa strided": ("mhsa", {"strides": 2}, MUST_GATHER["mhsa"]),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sharding", ["space", pytest.param("batch", marks=pytest.mark.full)])
def test_only_what_must_is_gathered_with_options(variant, sharding):
    name, options, reason = VARIANTS[variant]
    found = gathered(name, sharding, **options)
    assert bool(found) == (sharding == "space" and bool(reason)), found
