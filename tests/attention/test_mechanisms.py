"""Each mechanism against PyTorch: the goldens of tests/goldens/make_attention.py."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
GOLDEN = np.load(GOLDENS / "attention.npz")
HASH = runpy.run_path(str(GOLDENS / "hash_weights.py"))
SHAPES = ((2, 48, 2, 1), (1, 64, 5, 2))

# Mechanism and options, our modules by the golden's names, and the parameter whose gradient is compared.
PARITY = {
    "se": ("se", {}, {"mlp/fc1": "conv1", "mlp/fc2": "conv2"}, "mlp/fc1"),
    "cbam": (
        "cbam",
        {},
        {
            "mlp/fc1": "ch_gate.mlp.fc1",
            "mlp/fc2": "ch_gate.mlp.fc2",
            "conv": "sp_gate.conv.conv",
            "norm": "sp_gate.conv.bn",
        },
        "conv",
    ),
    "gc": ("gc", {}, {name: name for name in ("mask", "fc1", "norm", "fc2")}, "mask"),
    "gc_mul": ("gc", {"fusion": "mul"}, {name: name for name in ("mask", "fc1", "norm", "fc2")}, "fc1"),
}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def last(array):
    return np.moveaxis(array, 1, -1)


def to_torch(kernel):
    return np.moveaxis(np.asarray(kernel), (-1, -2), (0, 1))


def hashed(variables, names, dtype):
    """The variables with the golden's values."""

    def value(path, leaf):
        _, *module, name = (step.key for step in path)
        torch_name = f"{names['/'.join(module)]}.{LEAVES[name]}"
        layout = to_torch(np.zeros(leaf.shape)).shape if name == "kernel" else leaf.shape
        array = HASH["weight"](torch_name, layout)
        return np.asarray(np.moveaxis(array, (0, 1), (-1, -2)) if name == "kernel" else array, dtype)

    return jax.tree_util.tree_map_with_path(value, variables)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("name", PARITY)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)], ids=["f64", "f32"])
def test_output_and_gradients_equal_pytorch(name, index, dtype, tolerance):
    mechanism, options, names, watched = PARITY[name]
    with jax.enable_x64(dtype is np.float64):
        module = attention.create(mechanism, param_dtype=dtype, **options)
        x, direction = (jnp.asarray(last(HASH["signed"](SHAPES[index], salt)), dtype) for salt in (12345, 777))
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
        variables = hashed({key: shapes[key] for key in shapes if key != "attention"}, names, dtype)

        @jax.jit
        def run(params, x):
            def loss(params, x):
                both = {**variables, "params": params}
                y, _ = module.apply(both, x, train=index == 0, mutable=["batch_stats"])
                return (y * direction).sum(), y

            (_, y), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)
            return y, *gradients

        y, parameters, dx = run(variables["params"], x)
    for step in watched.split("/"):
        parameters = parameters[step]
    for kind, ours in (
        ("output", np.moveaxis(y, -1, 1)),
        ("input_gradient", np.moveaxis(dx, -1, 1)),
        ("parameter_gradient", to_torch(parameters["kernel"])),
    ):
        wanted = GOLDEN[f"{name}_{index}_{kind}"].reshape(ours.shape)
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=kind)


def start(name, **options):
    x = jnp.asarray(np.random.default_rng(2).standard_normal((4, 6, 5, 64)), jnp.float32)
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    return x, np.asarray(module.apply({k: variables[k] for k in variables if k != "attention"}, x, train=False))


def test_at_initialisation_gc_is_the_identity_and_its_product_halves():
    x, y = start("gc")
    np.testing.assert_array_equal(y, x)
    x, y = start("gc", fusion="mul")
    np.testing.assert_array_equal(y, x / 2)


def test_at_initialisation_se_halves_and_cbam_quarters():
    for name, share in (("se", 0.5), ("cbam", 0.25)):
        x, y = start(name)
        np.testing.assert_allclose((y / x).mean(), share, rtol=0.1)


def test_cbams_spatial_gate_starts_shut_to_its_convolution_and_remembers_slowly():
    module = attention.create("cbam")
    x = jnp.asarray(np.random.default_rng(2).standard_normal((4, 6, 5, 32)), jnp.float32)
    variables = module.init(jax.random.key(0), x, train=False)
    assert variables["params"]["norm"]["scale"] == 0
    apply = jax.jit(lambda v: module.apply(v, x, train=True, mutable=["batch_stats", "attention"])[1])
    once = apply(variables)
    twice = apply({**variables, "batch_stats": once["batch_stats"]})
    np.testing.assert_array_equal(once["attention"]["spatial"][0], 0.5)
    means = [state["batch_stats"]["norm"]["mean"] for state in (once, twice)]
    np.testing.assert_allclose(means[1] / means[0], 1.99, rtol=1e-4)
