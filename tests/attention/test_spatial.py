"""Gates on channels and positions against PyTorch (tests/goldens/attention/spatial.py), and what they depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention
from attn_jax.errors import UserError

SSE_NAMES = {"fc": "conv"}
CSE_NAMES = {"mlp/fc1": "fc1", "mlp/fc2": "fc2"}
BAM_NAMES = {
    "fc1": "ch_att.init_fc.fc",
    "fc1_norm": "ch_att.init_fc.bn",
    "fc2": "ch_att.final_fc",
    "conv1": "sp_att.init_conv.conv",
    "conv1_norm": "sp_att.init_conv.bn",
    "conv2": "sp_att.dil_convs.conv1.conv",
    "conv2_norm": "sp_att.dil_convs.conv1.bn",
    "conv3": "sp_att.dil_convs.conv2.conv",
    "conv3_norm": "sp_att.dil_convs.conv2.bn",
    "conv4": "sp_att.final_conv",
}
TRIPLET_NAMES = {
    f"{ours}_{kind}": f"{theirs}.conv.{name}"
    for ours, theirs in {"axis1": "cw", "axis2": "hc", "channels": "hw"}.items()
    for kind, name in {"conv": "conv", "norm": "bn"}.items()
}
TRIPLET_3D_NAMES = {
    f"{ours}_{kind}": f"{kind}s.{theirs}"
    for ours, theirs in {"axis1": "d", "axis2": "h", "axis3": "w", "channels": "c"}.items()
    for kind in ("conv", "norm")
}
COORDINATE_NAMES = {"shared": "conv1", "norm": "bn1"}
SHUFFLE_NAMES = {
    "channel/scale": "cweight",
    "channel/bias": "cbias",
    "spatial/scale": "sweight",
    "spatial/bias": "sbias",
}


def channels_last(kernel):
    """PyTorch's kernel, whose first spatial axis runs along the channels, with that axis after the others."""
    return np.moveaxis(kernel, (0, 1, 2), (-1, -2, -3))


PARITY = {
    "sse": {"mechanism": "sse", "names": SSE_NAMES},
    "sse_3d": {"mechanism": "sse", "names": SSE_NAMES},
    "cse": {"mechanism": "cse", "names": CSE_NAMES},
    "scse": {"mechanism": "scse", "names": SSE_NAMES | CSE_NAMES},
    "scse_3d": {"mechanism": "scse", "names": SSE_NAMES | CSE_NAMES},
    "scse_add": {"mechanism": "scse", "options": {"fusion": "add"}, "names": SSE_NAMES | CSE_NAMES},
    "bam": {"mechanism": "bam", "names": BAM_NAMES},
    "bam_add": {"mechanism": "bam", "options": {"fusion": "add"}, "names": BAM_NAMES},
    "bam_paper": {
        "mechanism": "bam",
        "options": {"fusion": "add", "normalise": "terms"},
        "names": {
            name: name for name in ("fc1", "fc2", "channel_norm", "spatial_norm", "conv1", "conv2", "conv3", "conv4")
        },
    },
    "bam_3d": {"mechanism": "bam", "names": {name: name for name in BAM_NAMES}},
    "triplet": {
        "mechanism": "triplet",
        "names": TRIPLET_NAMES,
        "layouts": {"axis1_conv/kernel": channels_last},
    },
    "triplet_3d": {
        "mechanism": "triplet",
        "options": {"kernel_size": 3},
        "names": TRIPLET_3D_NAMES,
        "layouts": {f"axis{axis}_conv/kernel": channels_last for axis in (1, 2, 3)},
    },
    "coordinate": {
        "mechanism": "coordinate",
        "names": COORDINATE_NAMES | {"axis1": "conv_h", "axis2": "conv_w"},
    },
    "coordinate_3d": {
        "mechanism": "coordinate",
        "names": COORDINATE_NAMES | {"axis1": "conv_d", "axis2": "conv_h", "axis3": "conv_w"},
    },
    "simam": {"mechanism": "simam"},
    "simam_3d": {"mechanism": "simam"},
    "shuffle": {"mechanism": "shuffle", "names": SHUFFLE_NAMES | {"norm": "gn"}},
    "shuffle_3d": {
        "mechanism": "shuffle",
        "options": {"groups": 8},
        "names": SHUFFLE_NAMES | {"norm/scale": "nweight", "norm/bias": "nbias"},
    },
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("sse", (2, 2, 256), 256 + 1),
        ("cse", (2, 2, 256), 2 * 256 * 128 + 128 + 256),
        ("scse", (2, 2, 256), 2 * 256 * 16 + 16 + 256 + 256 + 1),
        ("bam", (2, 2, 256), 2 * 256 * 16 + 3 * 16 + 256 + 256 * 16 + 3 * 16 + 2 * (9 * 16**2 + 3 * 16) + 16 + 1),
        ("triplet", (2, 2, 256), 3 * (2 * 7**2 + 2)),
        ("triplet", (2, 2, 2, 256), 4 * (2 * 7**3 + 2)),
        ("coordinate", (2, 2, 64), 3 * 64 * 8 + 2 * 64 + 3 * 8),
        ("coordinate", (2, 2, 2, 512), 4 * 512 * 16 + 3 * 512 + 3 * 16),
        ("simam", (2, 2, 256), 0),
        ("shuffle", (2, 2, 64), 6),
        ("shuffle", (2, 2, 512), 6 * 4),
    ],
)
def test_number_of_parameters(name, shape, count):
    module = attention.create(name)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, *shape)), train=False))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables.get("params", {}))) == count


OPTIONS = {"shuffle": {"groups": 4}, "gc": {"reduction": 4}}
RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((3, 6, 6, 32)).astype(np.float32)
OTHER = RANDOM.standard_normal(X.shape).astype(np.float32)
PLACES, CHANNELS = RANDOM.permutation(36), RANDOM.permutation(32)


def scattered(x):
    return x.reshape(3, 36, 32)[:, PLACES].reshape(x.shape)


def untouched(f, changed):
    """Whether the output stays where the input does, when the rest of the input is replaced."""
    return same(f(np.where(changed, OTHER, X))[~changed], f(X)[~changed])


def same(a, b):
    return np.allclose(a, b, rtol=1e-4, atol=1e-5)


def only(*index):
    """True at this index of X."""
    changed = np.zeros(X.shape, bool)
    changed[index] = True
    return changed


PROPERTIES = {
    "flips with its input": lambda f: same(f(X[:, ::-1]), f(X)[:, ::-1]),
    "turns with its input": lambda f: same(f(X.swapaxes(1, 2)), f(X).swapaxes(1, 2)),
    "knows no places": lambda f: same(f(scattered(X)), scattered(f(X))),
    "knows no channels": lambda f: same(f(X[..., CHANNELS]), f(X)[..., CHANNELS]),
    "each place alone": lambda f: untouched(f, only(slice(None), 2, 3)),
    "each channel alone": lambda f: untouched(f, only(..., 0)),
    "each image alone": lambda f: untouched(f, only(0)),
}
FLIPS, TURNS, NO_PLACES, NO_CHANNELS, PLACE, CHANNEL, IMAGE = PROPERTIES
HOLDING = {
    "sse": {FLIPS, TURNS, NO_PLACES, PLACE, IMAGE},
    "cse": {FLIPS, TURNS, NO_PLACES, IMAGE},
    "scse": {FLIPS, TURNS, NO_PLACES, IMAGE},
    "cbam": {IMAGE},
    "gc": {FLIPS, TURNS, NO_PLACES, IMAGE},
    "bam": {IMAGE},
    "triplet": {IMAGE},
    "coordinate": {FLIPS, IMAGE},
    "simam": {FLIPS, TURNS, NO_PLACES, NO_CHANNELS, CHANNEL, IMAGE},
    "shuffle": {FLIPS, TURNS, NO_PLACES, CHANNEL, IMAGE},
}


@pytest.mark.parametrize("name", HOLDING)
def test_what_it_depends_on(name):
    module = attention.create(name, **OPTIONS.get(name, {}))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), X, train=False))
    random = np.random.default_rng(4)

    def numbers(kind, low):
        return jax.tree.map(lambda leaf: random.uniform(low, 1, leaf.shape).astype(np.float32), shapes.get(kind, {}))

    variables = {"params": numbers("params", -1), "batch_stats": numbers("batch_stats", 0.3)}
    evaluate = jax.jit(lambda x: module.apply(variables, x, train=False))
    train = jax.jit(lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"])[0])
    holding = {words for words, holds in PROPERTIES.items() if holds(lambda x: np.asarray(evaluate(x)))}
    assert holding == HOLDING[name]
    assert PROPERTIES[IMAGE](lambda x: np.asarray(train(x))) == ("batch_stats" not in shapes)


def test_triplet_remembers_as_its_authors_do():
    module, x = attention.create("triplet"), jnp.asarray(X)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    apply = jax.jit(lambda variables: module.apply(variables, x, train=True, mutable=["batch_stats"])[1])
    once = apply(variables)
    twice = apply({**variables, **once})
    for first, second in zip(*(jax.tree.leaves(state)[::2] for state in (once, twice)), strict=True):
        np.testing.assert_allclose(second, 1.99 * first, rtol=1e-4, atol=1e-7)


def start(name, x, **options):
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    return np.asarray(module.apply(variables, x, train=False))


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("sse", {}, 0.5),
        ("cse", {}, 0.5),
        ("scse", {}, 0.5),
        ("scse", {"fusion": "add"}, 1),
        ("bam", {}, 1.5),
        ("triplet", {}, 0.5),
        ("coordinate", {}, 0.25),
    ],
)
def test_share_of_the_input_at_initialisation(name, options, share):
    np.testing.assert_allclose((start(name, X, **options) / X).mean(), share, rtol=0.1)


def test_at_initialisation_coordinate_leaves_an_eighth_of_a_volume():
    volume = X.reshape(3, 6, 3, 2, 32)
    np.testing.assert_allclose((start("coordinate", volume) / volume).mean(), 1 / 8, rtol=0.1)


def test_simam_scales_by_more_than_sigmoid_of_a_half_and_by_more_what_lies_further_out():
    share = start("simam", X) / X
    assert 1 / (1 + np.exp(-0.5)) - 1e-6 < share.min() and share.max() < 1
    distance = np.abs(X - X.mean((1, 2), keepdims=True))[0, :, :, 0].ravel()
    assert (np.diff(share[0, :, :, 0].ravel()[distance.argsort()]) >= 0).all()


def test_simam_at_one_position():
    x = X[:, :1, :1]
    np.testing.assert_allclose(start("simam", x), x / (1 + np.exp(-0.5)), rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 7, 32])
def test_at_initialisation_shuffle_interleaves_the_halves(channels):
    y, scaled = start("shuffle", X[..., :channels]), X[..., :channels] / (1 + np.exp(-1))
    half = (channels + 1) // 2
    np.testing.assert_allclose(y[..., ::2], scaled[..., :half][..., : y[..., ::2].shape[-1]], rtol=1e-6)
    np.testing.assert_allclose(y[..., 1::2], scaled[..., half:], rtol=1e-6)


def test_scse_passes_one_gradient_where_its_two_results_are_equal():
    module = attention.create("scse")
    variables = module.init(jax.random.key(0), X, train=False)
    zeros = jax.tree.map(jnp.zeros_like, {"params": variables["params"]})
    gradient = jax.grad(lambda x: module.apply(zeros, x, train=False).sum())(jnp.asarray(X))
    np.testing.assert_allclose(gradient, 0.5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("scse", {"fusion": "mul"}, "'scse': fusion='mul' is neither 'max' nor 'add'"),
        ("bam", {"normalise": "both"}, "normalise='both' is neither 'hidden' nor 'terms'"),
        ("bam", {"fusion": "max"}, "'bam': fusion='max' is neither 'mul' nor 'add'"),
        ("triplet", {"kernel_size": 4}, "Triplet: kernel_size=4 is not an odd number"),
        ("simam", {"e_lambda": 0.0}, "'simam': e_lambda=0.0 is not above 0"),
    ],
)
def test_wrong_options_get_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attention.create(name, **options)
    assert "\n" not in str(caught.value)
