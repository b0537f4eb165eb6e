"""Every mechanism gives the same numbers wherever it is called: in jit, vmap, scan, remat, nnx, on several devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from attn_jax import attention

X = np.random.default_rng(5).standard_normal((8, 4, 3, 16)).astype(np.float32)

close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


def filled(module):
    """Variables that are zero nowhere: a factor that starts at zero would hide what it scales."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), X, train=False))
    random = np.random.default_rng(0)

    def fill(tree, low, high):
        return jax.tree.map(lambda leaf: random.uniform(low, high, leaf.shape).astype(np.float32), tree)

    bounds = {"params": (-0.5, 0.5), "batch_stats": (0.5, 1.0)}
    return {name: fill(shapes[name], *bound) for name, bound in bounds.items() if name in shapes}


def on_one_device(module, variables, x):
    """Outputs and, but for nnx, gradients: `[0]` of a plain call, the others of what should equal it."""

    def plain(x):
        return module.apply(variables, x, train=False)

    def elsewhere(x):
        one = jax.checkpoint(lambda image: plain(image[None])[0])
        _, y = lax.scan(lambda _, images: (None, jax.vmap(one)(images)), None, x.reshape(4, 2, *x.shape[1:]))
        return y.reshape(x.shape)

    def value_and_gradient(function):
        y, pull_back = jax.vjp(function, x)
        return y, *pull_back(jnp.sin(y))

    in_nnx = nnx.bridge.ToNNX(module).lazy_init(x, train=False, rngs=jax.random.key(0))
    for collection in variables.values():
        nnx.update(in_nnx, collection)
    return value_and_gradient(plain), value_and_gradient(elsewhere), (in_nnx(x, train=False),)


def train(module, variables, x):
    return module.apply(variables, x, train=True, mutable=["batch_stats"])


# One of each kind in the short suite; the others take minutes to compile.
OFTEN = ("se", "gc", "cbam", "coordinate", "simam", "lka", "non_local", "double", "sk", "mhsa", "halo", "lambda")
ALL = [name if name in OFTEN else pytest.param(name, marks=pytest.mark.full) for name in attention.MECHANISMS]


@pytest.mark.parametrize("name", [*ALL, "shuffled:cbam"])
def test_same_numbers_wherever_it_is_called(name):
    module = attention.create(name)
    variables = filled(module)
    wanted, *results = jax.jit(functools.partial(on_one_device, module))(variables, X)
    for way, values in zip(("vmap, scan and remat", "nnx"), results, strict=True):
        for ours, theirs in zip(values, wanted, strict=False):
            close(ours, theirs, err_msg=way)

    expected, statistics = jax.jit(functools.partial(train, module))(variables, X)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole, split = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data")))
    sharded = jax.jit(functools.partial(train, module), in_shardings=(whole, split))(variables, X)
    mapped = module.clone(axis_name="data") if hasattr(module, "axis_name") else module
    mapped = jax.pmap(functools.partial(train, mapped), "data", in_axes=(None, 0), out_axes=(0, None))
    y, mapped_statistics = mapped(variables, X[:, None])
    for way, ours, theirs in (("mesh", *sharded), ("pmap", y[:, 0], mapped_statistics)):
        close(ours, expected, err_msg=way)
        jax.tree.map(functools.partial(close, err_msg=way), theirs, statistics)
