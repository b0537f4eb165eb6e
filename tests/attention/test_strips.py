"""Strips, groups and polarized gates against PyTorch (tests/goldens/attention/strips.py), and what they depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention
from attn_jax.attention import mca
from attn_jax.errors import UserError

ELA_NAMES = {"conv1": "conv_h", "conv2": "conv_w", "norm1": "norm_h", "norm2": "norm_w"}
EMA_NAMES = {name: name for name in ("conv1x1", "conv3x3", "norm")}
MCA_NAMES = {"channel_mix": "mixes.0", "channel_conv": "convs.0"} | {
    f"axis{axis}_{ours}": f"{theirs}.{axis}"
    for axis in (1, 2)
    for ours, theirs in (("mix", "mixes"), ("conv", "convs"))
}
CAA_NAMES = {"conv1": "conv1", "conv2": "conv2", "strip2": "strips.0", "strip1": "strips.1"}
CAA_NORMS = {"norm1": "norm1", "norm2": "norm2"}
SCSA_NAMES = {f"conv{size}": f"convs.{i}" for i, size in enumerate((3, 5, 7, 9))} | {
    "norm1": "norms.0",
    "norm2": "norms.1",
    "norm": "norm",
    "query": "q.weight",
    "key": "k.weight",
    "value": "v.weight",
}
POLARIZED_NAMES = {name: name for name in ("channel_query", "channel_value", "spatial_query", "spatial_value")}
PARALLEL_NAMES = POLARIZED_NAMES | {"up": "up"}
SEQUENTIAL_NAMES = POLARIZED_NAMES | {"fc1": "fc1", "norm": "norm", "fc2": "fc2"}
PAPER = {
    "options": {"form": "paper"},
    "names": {
        "channel_query": "ch_wq",
        "channel_value": "ch_wv",
        "up": "ch_wz",
        "norm": "ln",
        "spatial_query": "sp_wq",
        "spatial_value": "sp_wv",
    },
}
PARITY = {
    "ela": {"mechanism": "ela", "names": ELA_NAMES},
    "ela_3d": {
        "mechanism": "ela",
        "names": {f"{ours}{axis}": f"{ours}s.{axis - 1}" for ours in ("conv", "norm") for axis in (1, 2, 3)},
    },
    "ela_authors": {
        "mechanism": "ela",
        "options": {"form": "authors"},
        "names": {"conv": "conv", "norm": "norm"},
    },
    "ema": {"mechanism": "ema", "names": EMA_NAMES},
    "ema_3d": {"mechanism": "ema", "names": EMA_NAMES},
    "mca": {"mechanism": "mca", "names": MCA_NAMES},
    "mca_3d": {"mechanism": "mca", "names": MCA_NAMES | {"axis3_mix": "mixes.3", "axis3_conv": "convs.3"}},
    "caa": {"mechanism": "caa", "names": CAA_NAMES | CAA_NORMS},
    "caa_plain": {"mechanism": "caa", "options": {"plain": True}, "names": CAA_NAMES},
    "caa_3d": {
        "mechanism": "caa",
        "names": CAA_NAMES | CAA_NORMS | {f"strip{3 - i}": f"strips.{i}" for i in range(3)},
    },
    "scsa": {"mechanism": "scsa", "names": SCSA_NAMES},
    "scsa_3d": {"mechanism": "scsa", "names": SCSA_NAMES | {"norm3": "norms.2"}},
    "psa_p": {"mechanism": "psa_p", "names": PARALLEL_NAMES},
    "psa_s": {"mechanism": "psa_s", "names": SEQUENTIAL_NAMES},
    "psa_p_paper": {"mechanism": "psa_p", **PAPER},
    "psa_s_paper": {"mechanism": "psa_s", **PAPER},
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


def shapes(name, shape, **options):
    module = attention.create(name, **options)
    return jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(shape), train=False))


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("ela", {}, lambda c: 18 * c),
        ("ela", {"form": "authors"}, lambda c: 9 * c),
        ("ema", {}, lambda c: 10 * (c // 32) ** 2 + 4 * (c // 32)),
        ("mca", {}, lambda c: {64: 3, 512: 5, 2048: 7}[c] + 2 + 2 * (3 + 2)),
        ("caa", {}, lambda c: 2 * c**2 + 28 * c),
        ("caa", {"plain": True}, lambda c: 2 * c**2 + 26 * c),
        ("scsa", {}, lambda c: 16 * c),
        ("psa_p", {}, lambda c: 2 * c**2 + c),
        ("psa_s", {}, lambda c: 27 * c**2 // 16 + 19 * c // 8),
        ("psa_p", {"form": "paper"}, lambda c: 2 * c**2 + 3 * c),
        ("psa_s", {"form": "paper"}, lambda c: 2 * c**2 + 3 * c),
    ],
)
@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_number_of_parameters(name, options, count, channels):
    leaves = jax.tree.leaves(shapes(name, (1, 2, 3, channels), **options)["params"])
    assert sum(np.prod(leaf.shape) for leaf in leaves) == count(channels)


RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((3, 6, 6, 32)).astype(np.float32)
OTHER = RANDOM.standard_normal(X.shape).astype(np.float32)
PLACES, CHANNELS, GROUPS = RANDOM.permutation(36), RANDOM.permutation(32), np.array([2, 0, 3, 1])


def same(a, b):
    return np.allclose(a, b, rtol=1e-4, atol=1e-5)


def scattered(x):
    return x.reshape(3, 36, 32)[:, PLACES].reshape(x.shape)


def regrouped(x):
    return x.reshape(3, 6, 6, 4, 8)[..., GROUPS, :].reshape(x.shape)


def turned(variables):
    """With each kernel along space turned by half a circle."""

    def turn(path, leaf):
        along_channels = any("channel_conv" in str(key) for key in path)
        return leaf if along_channels else np.flip(leaf, tuple(range(leaf.ndim - 2)))

    return jax.tree_util.tree_map_with_path(turn, variables)


def permuted(variables):
    """With each parameter at its channel's new place."""

    def permute(leaf):
        for axis in range(max(leaf.ndim - 2, 0), leaf.ndim):
            leaf = leaf.take(CHANNELS, axis) if leaf.shape[axis] == 32 else leaf
        return leaf

    return jax.tree.map(permute, variables)


def lines_kept(f, v):
    """Whether the gates stay when numbers move without a change of the mean of any row or column."""
    moved = X.copy()
    moved[:, 1:4:2, 2:5:2] += 0.5 * np.array([[1, -1], [-1, 1]], np.float32)[..., None]
    return same(f(v, moved) / moved, f(v, X) / X)


PROPERTIES = {
    "turns with its input": lambda f, v: same(f(v, X[:, ::-1, ::-1]), f(v, X)[:, ::-1, ::-1]),
    "turns with its kernels": lambda f, v: same(f(turned(v), X[:, ::-1, ::-1]), f(v, X)[:, ::-1, ::-1]),
    "knows no places": lambda f, v: same(f(v, scattered(X)), scattered(f(v, X))),
    "knows no channels": lambda f, v: same(f(v, X[..., CHANNELS]), f(v, X)[..., CHANNELS]),
    "permutes with its parameters": lambda f, v: same(f(permuted(v), X[..., CHANNELS]), f(v, X)[..., CHANNELS]),
    "knows no groups": lambda f, v: same(f(v, regrouped(X)), regrouped(f(v, X))),
    "sees lines": lines_kept,
    "each image alone": lambda f, v: same(f(v, np.concatenate([OTHER[:1], X[1:]]))[1:], f(v, X)[1:]),
}
TURNS, KERNELS, NO_PLACES, NO_CHANNELS, PARAMETERS, NO_GROUPS, LINES, IMAGE = PROPERTIES
HOLDING = {
    "ela": {KERNELS, PARAMETERS, LINES, IMAGE},
    "ema": {KERNELS, NO_GROUPS, IMAGE},
    "mca": {KERNELS, IMAGE},
    "caa": {KERNELS, PARAMETERS, IMAGE},
    "scsa": {KERNELS, IMAGE},
    "psa_p": {TURNS, KERNELS, NO_PLACES, PARAMETERS, IMAGE},
    "psa_s": {TURNS, KERNELS, NO_PLACES, PARAMETERS, IMAGE},
}


@pytest.mark.parametrize("name", HOLDING)
def test_what_it_depends_on(name):
    module = attention.create(name, **({"factor": 4} if name == "ema" else {}))
    random = np.random.default_rng(4)

    def fill(leaf):
        return random.uniform(0.3, 1, leaf.shape).astype(np.float32)

    variables = shapes(name, X.shape, **({"factor": 4} if name == "ema" else {}))
    variables = jax.tree.map(fill, variables)
    variables["params"] = jax.tree.map(lambda leaf: leaf * random.choice([-1, 1], leaf.shape), variables["params"])
    apply = jax.jit(lambda v, x: module.apply(v, x, train=False))
    holding = {words for words, holds in PROPERTIES.items() if holds(lambda v, x: np.asarray(apply(v, x)), variables)}
    assert holding == HOLDING[name]


@pytest.mark.parametrize(("name", "momentum"), [("caa", 0.97), ("ela", None), ("scsa", None)])
def test_in_training_caa_normalises_over_the_batch_and_remembers_as_its_authors_do(name, momentum):
    module = attention.create(name)
    variables = jax.jit(lambda key: module.init(key, X, train=False))(jax.random.key(0))
    apply = jax.jit(lambda variables, x: module.apply(variables, x, train=True, mutable=["batch_stats"]))
    y, once = apply(variables, X)
    other, _ = apply(variables, np.concatenate([OTHER[:1], X[1:]]))
    assert same(other[1:], y[1:]) == (momentum is None)
    if momentum is not None:
        _, twice = apply({**variables, **once}, X)
        for name in ("norm1", "norm2"):
            first, second = (state["batch_stats"][name]["mean"] for state in (once, twice))
            np.testing.assert_allclose(second, (1 + momentum) * first, rtol=1e-4)


def start(name, **options):
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, jnp.asarray(X), train=False))(jax.random.key(0))
    y, state = jax.jit(lambda x: module.apply(variables, x, train=False, mutable=["attention"]))(X)
    return np.asarray(y), jax.tree.map(np.asarray, state["attention"])


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("ela", {}, 0.3),
        ("ela", {"form": "authors"}, 0.25),
        ("ema", {}, 0.5),
        ("mca", {}, 0.5),
        ("caa", {}, 0.5),
        ("caa", {"plain": True}, 0.5),
        ("scsa", {}, 1 / 8),
        ("psa_p", {}, 1),
        ("psa_s", {}, 0.25),
        ("psa_p", {"form": "paper"}, 1),
        ("psa_s", {"form": "paper"}, 0.25),
    ],
)
def test_share_of_the_input_at_initialisation(name, options, share):
    np.testing.assert_allclose((start(name, **options)[0] / X).mean(), share, rtol=0.1)


@pytest.mark.parametrize(("channels", "size"), [(1, 1), (2, 1), (7, 1), (64, 3), (256, 5), (2048, 7)])
def test_kernel_along_channels_grows_with_their_number(channels, size):
    assert mca.kernel_size(channels) == size


def test_the_authors_spatial_gate_of_parallel_polarization_never_shuts():
    _, maps = start("psa_p")
    assert 0.5 < maps["spatial"][0].min() and maps["spatial"][0].max() < 1 / (1 + np.exp(-1))


@pytest.mark.parametrize(("shape", "heads"), [((2, 15, 6, 32), 8), ((2, 1, 1, 20), 5), ((2, 9, 3, 4, 7), 7)])
def test_channels_are_cut_into_as_many_heads_as_divide_them(shape, heads):
    variables, module = shapes("scsa", shape), attention.create("scsa")
    apply = functools.partial(module.apply, train=False, mutable=["attention"])
    (token,) = jax.eval_shape(apply, variables, jnp.zeros(shape))[1]["attention"]["token"]
    assert token.shape == (2, heads, shape[-1] // heads, shape[-1] // heads)


def test_channels_of_a_head_share_their_attention():
    np.testing.assert_allclose(start("scsa")[1]["token"][0].sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", HOLDING)
def test_computes_in_the_type_asked_for(name):
    module = attention.create(name, dtype=jnp.bfloat16)
    y, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros(X.shape), train=False))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ela", {"kernel_size": 4}, "ELA: kernel_size=4 is not an odd number"),
        ("ela", {"form": "paper"}, "'ela': form='paper' is neither 'timm' nor 'authors'"),
        ("ema", {"factor": 0}, "'ema': factor=0 is the number of groups, at least 1"),
        ("caa", {"kernel_size": -3}, "CAA: kernel_size=-3 is not an odd number"),
        ("scsa", {"heads": 0}, "'scsa': heads=0 is not at least 1"),
        ("scsa", {"window": 0}, "'scsa': window=0 is not at least 1"),
        ("psa_s", {"form": "timm"}, "'psa_s': form='timm' is neither 'code' nor 'paper'"),
    ],
)
def test_wrong_options_get_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attention.create(name, **options)
    assert "\n" not in str(caught.value)
