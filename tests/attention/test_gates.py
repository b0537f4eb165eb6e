"""SE, CBAM and GC against PyTorch (tests/goldens/attention/gates.py), and what they do at initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention

GC_NAMES = {name: name for name in ("mask", "fc1", "norm", "fc2")}
CBAM_NAMES = {
    "mlp/fc1": "ch_gate.mlp.fc1",
    "mlp/fc2": "ch_gate.mlp.fc2",
    "conv": "sp_gate.conv.conv",
    "norm": "sp_gate.conv.bn",
}
PARITY = {
    "se": {"mechanism": "se", "names": {"mlp/fc1": "conv1", "mlp/fc2": "conv2"}},
    "cbam": {"mechanism": "cbam", "names": CBAM_NAMES},
    "cbam_paper": {"mechanism": "cbam", "options": {"spatial_norm": False}, "names": CBAM_NAMES},
    "gc": {"mechanism": "gc", "names": GC_NAMES},
    "se_3d": {"mechanism": "se", "names": {"mlp/fc1": "conv1", "mlp/fc2": "conv2"}},
    "cbam_3d": {"mechanism": "cbam", "names": {"mlp/fc1": "fc1", "mlp/fc2": "fc2", "conv": "conv", "norm": "norm"}},
    "gc_3d": {"mechanism": "gc", "names": GC_NAMES},
    "gc_mul": {"mechanism": "gc", "options": {"fusion": "mul"}, "names": GC_NAMES},
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


def start(name, **options):
    x = jnp.asarray(np.random.default_rng(2).standard_normal((4, 6, 5, 64)), jnp.float32)
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    return x, np.asarray(module.apply(variables, x, train=False))


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
