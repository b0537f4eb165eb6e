"""Every mechanism gives the same numbers wherever it is called: in jit, vmap, scan, remat, nnx, on several devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
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
    """Outputs and gradients: `[0]` of a plain call, the others of what should equal it."""

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
    return tuple(map(value_and_gradient, (plain, elsewhere, lambda x: in_nnx(x, train=False))))


def train(module, variables, x, axis=None):
    """`(outputs, gradient of the images), (statistics, gradient of the parameters)`, the latter of all devices."""

    def apply(params, x):
        return module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])

    y, pull, statistics = jax.vjp(apply, variables.get("params", {}), x, has_aux=True)
    of_params, of_images = pull(jnp.sin(y))
    return (y, of_images), (statistics, lax.psum(of_params, axis) if axis else of_params)


def test_shuffled_maps_are_the_same_wherever_it_is_called():
    test_same_numbers_wherever_it_is_called("shuffled:cbam")


def test_same_numbers_wherever_it_is_called(name):
    module = attention.create(name)
    variables = filled(module)
    wanted, *results = jax.jit(functools.partial(on_one_device, module))(variables, X)
    for way, values in zip(("vmap, scan and remat", "nnx"), results, strict=True):
        for ours, theirs in zip(values, wanted, strict=False):
            close(ours, theirs, err_msg=way)

    wanted = jax.jit(functools.partial(train, module))(variables, X)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole, split = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data")))
    sharded = jax.jit(functools.partial(train, module), in_shardings=(whole, split))(variables, X)
    mapped = module.clone(axis_name="data") if hasattr(module, "axis_name") else module
    mapped = jax.pmap(functools.partial(train, mapped, axis="data"), "data", in_axes=(None, 0), out_axes=(0, None))
    of_images, of_all = mapped(variables, X[:, None])
    found = {"mesh": sharded, "pmap": (jax.tree.map(lambda of: of[:, 0], of_images), of_all)}
    (*expected, (statistics, gradient)) = wanted
    # A bias before a normalisation has a gradient of nothing but rounding.
    largest = max((float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)), default=0.0)
    of_parameters = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5 * max(10, largest))
    for way, (*ours, (own_statistics, own_gradient)) in found.items():
        jax.tree.map(functools.partial(close, err_msg=way), (ours, own_statistics), (expected, statistics))
        jax.tree.map(functools.partial(of_parameters, err_msg=way), own_gradient, gradient)


def test_nnx_trains_with_running_statistics_and_hands_over_maps():
    module = attention.create("cbam")
    variables = filled(module)
    in_nnx = nnx.bridge.ToNNX(module).lazy_init(X, train=False, rngs=jax.random.key(0))
    for collection in variables.values():
        nnx.update(in_nnx, collection)
    _, sown = module.apply(variables, X, train=False, mutable=["attention"])
    for _ in range(2):
        in_nnx(X, train=False, mutable=["attention"])
        maps = nnx.to_pure_dict(nnx.pop(in_nnx, nnx.variable_type_from_name("attention")))
        jax.tree.map(close, maps, sown["attention"])

    (_, of_images), (statistics, of_params) = train(module, variables, X)
    loss, gradient = nnx.value_and_grad(lambda module: -jnp.cos(module(X, train=True, mutable=["batch_stats"])).sum())(
        in_nnx
    )
    jax.tree.map(close, nnx.to_pure_dict(gradient), of_params)
    jax.tree.map(close, nnx.to_pure_dict(nnx.state(in_nnx, nnx.BatchStat)), statistics["batch_stats"])


@pytest.mark.parametrize("lifted", ["remat", "scan", "vmap"])
def test_linens_transforms_take_a_mechanism_in_a_function(lifted):
    """With parameters of their own, as layers of a network have them."""

    def call(module, x):
        return module(x, train=False)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            module = attention.CBAM()
            if lifted == "remat":
                return nn.remat(call)(module, x)
            apart = {"variable_axes": {"params": 0, "batch_stats": 0}, "split_rngs": {"params": True}}
            if lifted == "vmap":
                return nn.vmap(call, **apart)(module, jnp.stack([x, x]))
            return nn.scan(lambda module, x, _: (call(module, x), None), length=2, **apart)(module, x, None)[0]

    variables = jax.jit(Net().init)(jax.random.key(0), X)
    own = {kind: tree["CBAM_0"] for kind, tree in variables.items()}
    layers = [own] if lifted == "remat" else [jax.tree.map(lambda leaf, at=at: leaf[at], own) for at in range(2)]
    apply = functools.partial(attention.CBAM().apply, train=False)
    if lifted == "vmap":
        expected = jnp.stack([apply(layer, X) for layer in layers])
    else:
        expected = functools.reduce(lambda x, layer: apply(layer, x), layers, X)
    close(jax.jit(Net().apply)(variables, X), expected)
