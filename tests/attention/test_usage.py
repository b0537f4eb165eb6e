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
PUSH = 0.1
"""Added to all parameters: those that start at zero would hide what they scale."""

close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


def on_one_device(module, key, x):
    """What plain calls give, and what should be the same, by name; and the variables."""
    state = module.init(key, x, train=False)
    variables = {name: state[name] for name in ("params", "batch_stats") if name in state}
    variables = {**variables, "params": jax.tree.map(lambda leaf: leaf + PUSH, variables.get("params", {}))}

    def plain(x):
        return module.apply(variables, x, train=False)

    def elsewhere(x):
        one = jax.checkpoint(lambda image: plain(image[None])[0])
        _, y = lax.scan(lambda _, images: (None, jax.vmap(one)(images)), None, x.reshape(4, 2, *x.shape[1:]))
        return y.reshape(x.shape)

    def value_and_gradient(function):
        y, pull_back = jax.vjp(function, x)
        return y, *pull_back(jnp.sin(y))

    in_nnx = nnx.bridge.ToNNX(module).lazy_init(x, train=False, rngs=key)
    nnx.update(in_nnx, jax.tree.map(lambda leaf: leaf + PUSH, nnx.state(in_nnx, nnx.Param)))
    return variables, {
        "plain": value_and_gradient(plain),
        "vmap, scan, remat": value_and_gradient(elsewhere),
        "nnx": (in_nnx(x, train=False),),
    }


@pytest.mark.parametrize("name", [*attention.MECHANISMS, "shuffled:cbam"])
def test_same_numbers_wherever_it_is_called(name):
    module = attention.create(name)
    variables, results = jax.jit(functools.partial(on_one_device, module))(jax.random.key(0), X)
    for way, values in results.items():
        for ours, wanted in zip(values, results["plain"], strict=False):
            close(ours, wanted, err_msg=way)

    def train(module, variables, x):
        return module.apply(variables, x, train=True, mutable=["batch_stats"])

    wanted, statistics = jax.jit(functools.partial(train, module))(variables, X)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole, split = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data")))
    sharded = jax.jit(functools.partial(train, module), in_shardings=(whole, split))(variables, X)
    mapped_module = module.clone(axis_name="data") if hasattr(module, "axis_name") else module
    mapped = jax.pmap(functools.partial(train, mapped_module), "data", in_axes=(None, 0), out_axes=(0, None))
    y, mapped_statistics = mapped(variables, X[:, None])
    for way, ours, theirs in (("mesh", *sharded), ("pmap", y[:, 0], mapped_statistics)):
        close(ours, wanted, err_msg=way)
        jax.tree.map(functools.partial(close, err_msg=way), theirs, statistics)
