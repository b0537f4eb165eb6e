"""The global mechanisms against PyTorch (tests/goldens/attention/global_attention.py), and what sets them apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention
from attn_jax.attention.criss_cross import lay_out
from attn_jax.errors import UserError
from attn_jax.models import cost

NON_LOCAL = {name: name for name in ("theta", "phi", "g", "out")}
AUTHORS = {"mechanism": "non_local", "options": {"use_bias": True, "batch_norm": True, "pool": 2}}
DOUBLE = {"mechanism": "double", "names": {name: name for name in ("a", "b", "v", "out")}}
CRISS_CROSS = {
    "mechanism": "criss_cross",
    "names": {**{name: f"{name}_conv" for name in ("query", "key", "value")}, "gamma": "gamma"},
}
DUAL = {
    "mechanism": "dual",
    "names": {
        **{name: f"position.{name}_conv" for name in ("query", "key", "value")},
        "position_gamma": "position.scale.alpha",
        "channel_gamma": "channel.scale.alpha",
    },
}
EXTERNAL_NAMES = {"conv1": "conv1", "keys": "linear_0.weight", "conv2": "conv2.0", "norm": "conv2.1"}
EXTERNAL = {"mechanism": "external", "names": EXTERNAL_NAMES}
GATE = {
    "mechanism": "gate",
    "names": {**{name: name for name in ("theta", "phi", "psi")}, "out": "W.0", "norm": "W.1"},
    "keywords": lambda x: {"signal": x[:, ::2, ::2, : 3 * x.shape[-1] // 4]},
}
PARITY = {
    "non_local": {"mechanism": "non_local", "names": NON_LOCAL},
    "non_local_authors": {**AUTHORS, "names": {**NON_LOCAL, "norm": "norm"}},
    "non_local_timm": {
        "mechanism": "non_local",
        "options": {"use_bias": True, "batch_norm": True},
        "names": {"theta": "t", "phi": "p", "g": "g", "out": "z", "norm": "norm"},
    },
    "non_local_3d": {
        "mechanism": "non_local",
        "options": {**AUTHORS["options"], "scale": False},
        "names": {**NON_LOCAL, "norm": "norm"},
    },
    "double": DOUBLE,
    "double_3d": DOUBLE,
    "criss_cross": CRISS_CROSS,
    "criss_cross_3d": CRISS_CROSS,
    "dual": DUAL,
    "dual_3d": DUAL,
    "external": EXTERNAL,
    "external_untied": {
        "mechanism": "external",
        "options": {"tied": False},
        "names": {**EXTERNAL_NAMES, "values": "linear_1.weight"},
        "layouts": {"values": np.transpose},
    },
    "external_3d": EXTERNAL,
    "gate": GATE,
    "gate_paper": {**GATE, "options": {"transform": False}},
    "gate_residual": {**GATE, "options": {"mode": "concatenation_residual"}},
    "gate_alone_3d": {**GATE, "keywords": lambda x: {}},
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


def images(*shape):
    return jnp.asarray(np.random.default_rng(3).standard_normal(shape), jnp.float32)


@functools.cache
def started(name, channels, **options):
    """The module and its variables at initialisation."""
    module = attention.create(name, **options)
    x = jnp.zeros((1, 2, 2, channels))
    return module, jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))


@functools.cache
def trained(name, channels=16, **options):
    """The module and variables of which none is zero, as after some training."""
    module, variables = started(name, channels, **options)
    leaves, structure = jax.tree.flatten(variables["params"])
    moved = [leaf + 0.5 * images(*leaf.shape) / max(1, leaf.ndim) for leaf in leaves]
    return module, {**variables, "params": jax.tree.unflatten(structure, moved)}


def run(module, variables, x, **keywords):
    return np.asarray(jax.jit(lambda x: module.apply(variables, x, train=False, **keywords))(x))


SHAPE = (2, 4, 6, 16)


@pytest.mark.parametrize(
    ("name", "options", "factor"),
    [
        ("non_local", (), 1),
        ("non_local", AUTHORS["options"], 1),
        ("double", (), 1),
        ("criss_cross", (), 1),
        ("dual", (), 2),
    ],
)
def test_at_initialisation_the_input_is_what_comes_out_and_dual_doubles_it(name, options, factor):
    x = images(*SHAPE)
    np.testing.assert_array_equal(run(*started(name, 16, **dict(options)), x), factor * x)


def test_at_initialisation_external_is_about_a_relu_until_it_trains():
    x = images(2, 16, 16, 64)
    module, variables = started("external", 64)
    for train, low, high in ((False, 0.01, 0.1), (True, 0.5, 1)):
        y, _ = module.apply(variables, x, train=train, mutable=["batch_stats"])
        assert low < np.square(y - np.maximum(x, 0)).mean() ** 0.5 < high


def some_order(x):
    """The positions of each image in another order."""
    order = np.random.default_rng(4).permutation(x.shape[1] * x.shape[2])
    return x.reshape(x.shape[0], -1, x.shape[-1])[:, order].reshape(x.shape)


MOVES = {
    "any order of positions": some_order,
    "another order of rows": lambda x: x[:, np.array([2, 0, 3, 1])],
    "mirrored": lambda x: x[:, :, ::-1],
    "another order of channels": lambda x: x[..., np.random.default_rng(5).permutation(x.shape[-1])],
    "another image beside": lambda x: jnp.stack([x[0], -x[0]]),
}
FOLLOWS = {
    ("non_local", ()): {"any order of positions", "another order of rows", "mirrored"},
    ("non_local", (("pool", 2),)): {"mirrored"},
    ("double", ()): {"any order of positions", "another order of rows", "mirrored"},
    ("criss_cross", ()): {"another order of rows", "mirrored"},
    ("dual", ()): {"any order of positions", "another order of rows", "mirrored"},
    ("external", ()): {"any order of positions", "another order of rows", "mirrored"},
    ("gate", ()): set(),
    ("gate", (("sub_sample_factor", 1),)): {"any order of positions", "another order of rows", "mirrored"},
}


@pytest.mark.parametrize(("mechanism", "options"), FOLLOWS)
def test_follows_its_input(mechanism, options):
    """In evaluation each image is on its own, too."""
    x = images(*SHAPE)
    module, variables = trained(mechanism, **dict(options))
    apply = jax.jit(lambda x: module.apply(variables, x, train=False))
    y, follows = apply(x), set()
    for name, move in MOVES.items():
        moved, wanted = apply(move(x)), move(y)
        if name == "another image beside":
            np.testing.assert_allclose(moved[0], y[0], atol=1e-5)
        elif np.abs(moved - wanted).max() < 1e-4:
            follows.add(name)
    assert follows == FOLLOWS[mechanism, options]


def test_the_channel_module_of_dual_follows_the_order_of_channels():
    x, move = images(*SHAPE), MOVES["another order of channels"]
    module, variables = trained("dual")
    alone = {"params": {**variables["params"], "position_gamma": jnp.zeros(())}}
    np.testing.assert_allclose(run(module, alone, move(x)), move(run(module, alone, x)), atol=1e-4)


@pytest.mark.parametrize(("name", "options"), [("external", {}), ("gate", {}), ("non_local", {"batch_norm": True})])
def test_in_training_those_that_normalise_feel_the_other_images(name, options):
    x = images(*SHAPE)
    module, variables = trained(name, **options)
    apply = jax.jit(lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"])[0])
    assert np.abs(apply(x)[0] - apply(MOVES["another image beside"](x))[0]).max() > 0.01


@pytest.mark.parametrize(("space", "passes"), [((4, 5), 1), ((4, 5), 2), ((3, 4, 2), 2), ((3, 4, 2), 3)])
def test_criss_cross_sees_lines_then_planes_then_all(space, passes):
    """Where the gradient of one position is not zero."""
    x, here = images(1, *space, 16), (1,) * len(space)
    apart = np.sum(np.indices(space) != 1, axis=0)
    module, variables = trained("criss_cross", recurrence=passes)
    gradient = jax.jit(jax.grad(lambda x: module.apply(variables, x, train=False)[(0, *here)].sum()))(x)
    np.testing.assert_array_equal(np.abs(gradient[0]).max(-1) > 0, apart <= passes)


@pytest.mark.parametrize("shape", [(2, 4, 5, 16), (2, 3, 4, 2, 16)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", ["non_local", "double", "criss_cross", "dual", "external"])
def test_token_maps_weigh_what_they_say(name, shape):
    x = images(*shape)
    module, variables = trained(name)
    state = jax.jit(lambda x: module.apply(variables, x, train=False, mutable=["attention"])[1])(x)
    maps = state["attention"]["token"]
    positions, lines = np.prod(shape[1:-1]), sum(shape[1:-1])
    assert [map.shape[2:] for map in maps] == {
        "non_local": [(positions, positions)],
        "double": [(positions, 4), (4, positions)],
        "criss_cross": [(positions, lines)] * 2,
        "dual": [(16, 16), (positions, positions)],
        "external": [(positions, 64)],
    }[name]
    for map in maps:
        np.testing.assert_allclose(map.sum(-1), 1, rtol=1e-5)
        # Of its own place each line but the last holds nothing.
        assert (map == 0).sum() == (x.shape[0] * positions * (len(shape) - 3) if name == "criss_cross" else 0)


@pytest.mark.parametrize("space", [(4, 5), (3, 4, 2)], ids=["2-D", "3-D"])
def test_criss_cross_laid_out_is_the_matrix_that_mixes_positions(space):
    x = images(2, *space, 16)
    module, variables = trained("criss_cross", recurrence=1)
    y, state = module.apply(variables, x, train=False, mutable=["attention"])
    matrix = np.asarray(lay_out(state["attention"]["token"][0], space))
    places = np.indices((*space, *space))
    crossed = (places[: len(space)] != places[len(space) :]).sum(0)
    np.testing.assert_array_equal(matrix[0, 0] > 0, crossed <= 1)
    params, side = variables["params"], np.prod(space)
    values = (x @ params["value"]["kernel"] + params["value"]["bias"]).reshape(2, side, 16)
    mixed = matrix.reshape(2, side, side) @ values
    np.testing.assert_allclose(y, x + params["gamma"] * mixed.reshape(x.shape), atol=1e-5)


def test_equal_keys_make_the_non_local_block_add_the_mean():
    x = images(*SHAPE)
    module, variables = trained("non_local")
    params = variables["params"]
    blind = {**params, "phi": {"kernel": jnp.zeros_like(params["phi"]["kernel"])}}
    added = run(module, {"params": blind}, x) - x
    mean = x.mean((1, 2)) @ params["g"]["kernel"] @ params["out"]["kernel"]
    np.testing.assert_allclose(added, np.broadcast_to(mean[:, None, None], x.shape), atol=1e-4)


def test_the_gate_interpolates_its_signal_from_any_size():
    """A signal that is the same everywhere may come in any size; a position is multiplied by what is sown for it."""
    x, signal = images(1, 5, 7, 16), images(1, 1, 1, 8)
    module = attention.create("gate")
    variables = module.init(jax.random.key(0), x, train=False, signal=signal)
    params, results = variables["params"], []
    for size in ((1, 1), (9, 4)):
        spread = jnp.broadcast_to(signal, (1, *size, 8))
        y, state = module.apply(variables, x, train=False, signal=spread, mutable=["attention"])
        gate = state["attention"]["spatial"][0][..., None]
        np.testing.assert_allclose(y, (x * gate) @ params["out"]["kernel"] / np.sqrt(1 + 1e-5), atol=1e-4)
        results.append(y)
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)


@pytest.mark.parametrize("channels", [64, 512])
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("non_local", (), lambda c: 2 * c**2),
        ("non_local", AUTHORS["options"], lambda c: 2 * c**2 + 3 * c // 2 + 3 * c),
        ("double", (), lambda c: c**2 + 7 * c // 4),
        ("criss_cross", (), lambda c: c**2 + c + 2 * (c * c // 8 + c // 8) + 1),
        ("dual", (), lambda c: c**2 + c + 2 * (c * c // 8 + c // 8) + 2),
        ("external", (), lambda c: 2 * c**2 + 64 * c + 3 * c),
        ("external", {"tied": False}, lambda c: 2 * c**2 + 128 * c + 3 * c),
        ("gate", (), lambda c: 7 * c**2 // 2 + 4 * c + 1),
    ],
)
def test_number_of_parameters(name, options, count, channels):
    module, x = attention.create(name, **dict(options)), jnp.zeros((1, 4, 4, channels))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    assert cost.parameters(variables) == count(channels)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("non_local", {"pool": 0}, "'non_local': pool=0 is not a window"),
        ("criss_cross", {"recurrence": 0}, "'criss_cross': recurrence=0 is not 1 pass or more"),
        ("external", {"memory": 0}, "'external': memory=0 is no number of entries"),
        ("gate", {"mode": "softmax"}, "'gate': mode='softmax' is neither 'concatenation' nor 'concatenation_residual'"),
        ("gate", {"sub_sample_factor": 0}, "'gate': sub_sample_factor=0 is less than 1"),
        ("gate", {"inter_channels": 0}, "'gate': inter_channels=0 is less than 1"),
    ],
)
def test_a_wrong_option_gets_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message):
        attention.create(name, **options)
