"""Where a paper's formula is not what its authors' code does: the formula in plain NumPy, against the option for it."""

import jax
import numpy as np
import pytest
from scipy import ndimage, special

from attn_jax import attention
from attn_jax.errors import UserError

X = np.random.default_rng(1).standard_normal((3, 6, 5, 16)).astype(np.float32)


def made(stirred, name, **options):
    """The output, the parameters and the maps."""
    module = attention.create(name, **options)
    variables = stirred(jax.jit(lambda key: module.init(key, X, train=False))(jax.random.key(0)))
    y, state = module.apply(variables, X, train=False, mutable=["attention"])
    return np.asarray(y), variables, state["attention"]


def dense(params, x):
    return x @ params["kernel"] + params.get("bias", 0)


def conv(params, x, dilation=1):
    """Channels last, zeros around, by scipy's correlation, one pair of channels after the other."""
    kernel = params["kernel"]
    wide = np.zeros((*((side - 1) * dilation + 1 for side in kernel.shape[:2]), *kernel.shape[2:]), np.float32)
    wide[::dilation, ::dilation] = kernel
    found = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for image in range(len(x)):
        for i in range(kernel.shape[2]):
            for o in range(kernel.shape[3]):
                found[image, ..., o] += ndimage.correlate(x[image, ..., i], wide[..., i, o], mode="constant")
    return found + params.get("bias", 0)


def norm(variables, name, x):
    params, statistics = variables["params"][name], variables["batch_stats"][name]
    return (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) * params["scale"] + params["bias"]


def test_cbams_spatial_gate_without_a_normalisation(stirred):
    y, variables, maps = made(stirred, "cbam", reduction=4, spatial_norm=False)
    params = variables["params"]
    assert set(params) == {"mlp", "conv"} and "batch_stats" not in variables

    def perceptron(pooled):
        return dense(params["mlp"]["fc2"], np.maximum(dense(params["mlp"]["fc1"], pooled), 0))

    channel = special.expit(perceptron(X.mean((1, 2))) + perceptron(X.max((1, 2))))
    scaled = X * channel[:, None, None]
    spatial = special.expit(conv(params["conv"], np.stack([scaled.max(-1), scaled.mean(-1)], -1)))
    np.testing.assert_allclose(maps["spatial"][0], spatial[..., 0], rtol=1e-4)
    np.testing.assert_allclose(y, scaled * spatial, rtol=1e-4, atol=1e-5)


def test_bam_adds_two_normalised_terms(stirred):
    y, variables, _ = made(stirred, "bam", reduction=4, dilation=2, fusion="add", normalise="terms")
    params = variables["params"]
    pooled = np.maximum(dense(params["fc1"], X.mean((1, 2))), 0)
    channel = norm(variables, "channel_norm", dense(params["fc2"], pooled))
    spatial = dense(params["conv1"], X)
    for name in ("conv2", "conv3"):
        spatial = conv(params[name], spatial, dilation=2)
    spatial = norm(variables, "spatial_norm", dense(params["conv4"], spatial))
    gate = special.expit(channel[:, None, None] + spatial)
    np.testing.assert_allclose(y, X * (1 + gate), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match="normalise='both' is neither 'hidden' nor 'terms'"):
        attention.create("bam", normalise="both")


def test_the_gates_formula_ends_with_the_product(stirred):
    y, variables, maps = made(stirred, "gate", transform=False)
    np.testing.assert_allclose(y, X * np.asarray(maps["spatial"][0])[..., None], rtol=1e-6)
    assert set(variables["params"]) == {"theta", "phi", "psi"} and "batch_stats" not in variables


@pytest.mark.parametrize("scaled", [False, True])
def test_mhsa_scales_positions_or_not(stirred, scaled):
    y, variables, _ = made(stirred, "mhsa", heads=2, scale_positions=scaled)
    params = variables["params"]
    q, k, v = np.split((X @ params["qkv"]["kernel"]).reshape(3, 30, 48), 3, axis=-1)
    at = np.stack(np.meshgrid(np.arange(6), np.arange(5), indexing="ij"), -1).reshape(30, 2)
    found = []
    for head in (slice(0, 8), slice(8, 16)):
        content = np.einsum("bne,bme->bnm", q[..., head], k[..., head])
        apart = at[None] - at[:, None]  # key less query
        tables = params["position0"][apart[..., 0] + 5] + params["position1"][apart[..., 1] + 4]
        position = np.einsum("bne,nme->bnm", q[..., head], tables)
        logits = (content + position) / np.sqrt(8) if scaled else content / np.sqrt(8) + position
        found.append(special.softmax(logits, axis=-1) @ v[..., head])
    np.testing.assert_allclose(y.reshape(3, 30, 16), np.concatenate(found, -1), rtol=1e-3, atol=1e-4)
