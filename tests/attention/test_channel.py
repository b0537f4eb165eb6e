"""Channel mechanisms against PyTorch (tests/goldens/attention/channel.py), and what tells each from the others."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention
from attn_jax.attention.fca import fitting_grid
from attn_jax.errors import UserError


def gathering(convolutions):
    names = [f"{kind}{i}" for i in range(1, convolutions + 1) for kind in ("conv", "norm")]
    return {name: f"gather.{name}" for name in names}


GE_GLOBAL = {"kernel": "gather.conv1.weight", "norm1": "gather.norm1"}
GE_MLP = {"mlp/fc1": "mlp.fc1", "mlp/fc2": "mlp.fc2"}
GCT_NAMES = {name: name for name in ("alpha", "gamma", "beta")}
SGE_NAMES = {"scale": "weight", "bias": "bias"}
FCA_NAMES = {"fc1": "fc.0", "fc2": "fc.2"}
PARITY = {
    "ese": {"mechanism": "ese", "names": {"fc": "fc"}},
    "eca": {"mechanism": "eca", "names": {"conv": "conv"}},
    "eca_7": {"mechanism": "eca", "options": {"kernel_size": 7}, "names": {"conv": "conv"}},
    "ge": {"mechanism": "ge"},
    "ge_minus_4": {"mechanism": "ge", "options": {"extent": 4}},
    "ge_theta": {"mechanism": "ge", "options": {"variant": "theta"}, "names": GE_GLOBAL},
    "ge_theta_8": {"mechanism": "ge", "options": {"variant": "theta", "extent": 8}, "names": gathering(3)},
    "ge_plus": {"mechanism": "ge", "options": {"variant": "theta_plus"}, "names": GE_GLOBAL | GE_MLP},
    "ge_plus_2": {
        "mechanism": "ge",
        "options": {"variant": "theta_plus", "extent": 2},
        "names": gathering(1) | GE_MLP,
    },
    "srm": {"mechanism": "srm", "names": {"cfc": "cfc", "norm": "bn"}},
    "gct": {"mechanism": "gct", "names": GCT_NAMES},
    "gct_l1": {"mechanism": "gct", "options": {"mode": "l1"}, "names": GCT_NAMES},
    "nam": {"mechanism": "nam", "names": {"norm": "bn"}},
    "sge": {"mechanism": "sge", "names": SGE_NAMES},
    "sge_8": {"mechanism": "sge", "options": {"groups": 8}, "names": SGE_NAMES},
    "fca": {"mechanism": "fca", "names": FCA_NAMES},
    "fca_14": {"mechanism": "fca", "options": {"grid": 14}, "names": FCA_NAMES},
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


class Case(NamedTuple):
    """A mechanism and what leaves its output as it is, but for the same change."""

    mechanism: str
    options: dict[str, Any] = {}
    permutation: bool = True
    flip: bool = True
    batch: bool = True


CASES = {
    "ese": Case("ese"),
    "eca": Case("eca", permutation=False),
    "ge": Case("ge"),
    "ge_minus_4": Case("ge", {"extent": 4}, flip=False),
    "ge_theta": Case("ge", {"variant": "theta"}, flip=False, batch=False),
    "ge_plus_2": Case("ge", {"variant": "theta_plus", "extent": 2}, flip=False, batch=False),
    "srm": Case("srm", batch=False),
    "gct": Case("gct"),
    "gct_l1": Case("gct", {"mode": "l1"}),
    "fca": Case("fca", permutation=False, flip=False),
    "nam": Case("nam", batch=False),
    "sge": Case("sge", {"groups": 4}, permutation=False),
}
CHANNELS = 12
each_case = pytest.mark.parametrize("case", CASES)


def images(*shape):
    return jnp.asarray(np.random.default_rng(3).standard_normal(shape), jnp.float32)


def initialised(module, x):
    return jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))


@functools.cache
def prepared(case):
    """Weights other than the initial ones, which hide much, and the module applied in evaluation and in training."""
    mechanism, options, *_ = CASES[case]
    module = attention.create(mechanism, **options)
    variables = initialised(module, images(3, 5, 4, CHANNELS))
    draws = np.random.default_rng(4)
    variables = jax.tree.map(lambda leaf: jnp.asarray(draws.uniform(0.2, 1.2, leaf.shape), leaf.dtype), variables)
    apply = jax.jit(lambda train, v, x: module.apply(v, x, train=train, mutable=["batch_stats"])[0], static_argnums=0)
    return variables, functools.partial(apply, False), functools.partial(apply, True)


def assert_equal(holds, ours, wanted):
    difference = np.abs(np.asarray(ours) - np.asarray(wanted)).max()
    assert difference < 1e-5 if holds else difference > 1e-3, difference


@each_case
def test_channels_in_another_order(case):
    variables, evaluate, _ = prepared(case)
    x, order = images(3, 5, 4, CHANNELS), np.random.default_rng(5).permutation(CHANNELS)

    def reorder(leaf):
        for axis in (axis for axis, size in enumerate(leaf.shape) if size == CHANNELS):
            leaf = jnp.take(leaf, order, axis)
        return leaf

    y = evaluate(jax.tree.map(reorder, variables), x[..., order])
    assert_equal(CASES[case].permutation, y, evaluate(variables, x)[..., order])


@each_case
def test_images_upside_down(case):
    variables, evaluate, _ = prepared(case)
    x = images(3, 5, 4, CHANNELS)
    assert_equal(CASES[case].flip, evaluate(variables, x[:, ::-1]), evaluate(variables, x)[:, ::-1])


@each_case
def test_other_images_in_the_batch(case):
    variables, evaluate, train = prepared(case)
    x = images(3, 5, 4, CHANNELS)
    others = x.at[1:].set(2 * x[1:] + 1)
    assert_equal(True, evaluate(variables, others)[0], evaluate(variables, x)[0])
    assert_equal(CASES[case].batch, train(variables, others)[0], train(variables, x)[0])


@pytest.mark.parametrize("case", ["srm", "gct", "gct_l1", "nam", "sge"])
def test_gradients_are_finite_where_nothing_varies(case):
    variables, _, train = prepared(case)
    gradients = jax.jit(jax.grad(lambda v, x: (train(v, x) ** 2).sum(), argnums=(0, 1)))
    for x in (jnp.zeros((3, 5, 4, CHANNELS)), jnp.full((3, 5, 4, CHANNELS), 0.1), images(3, 1, 1, CHANNELS)):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients(variables, x)))


def start(name, **options):
    x = images(4, 6, 5, 64)
    module = attention.create(name, **options)
    return x, np.asarray(module.apply(initialised(module, x), x, train=False))


def test_at_initialisation_gct_is_the_identity_srm_halves_and_sge_takes_sigmoid_of_one():
    for name, options, share in (
        ("gct", {}, 1),
        ("gct", {"mode": "l1"}, 1),
        ("srm", {}, 0.5),
        ("sge", {}, 1 / (1 + math.exp(-1))),
    ):
        x, y = start(name, **options)
        np.testing.assert_allclose(y, share * x, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ese", {}),
        ("eca", {}),
        ("ge", {}),
        ("ge", {"extent": 8}),
        ("ge", {"variant": "theta"}),
        ("ge", {"variant": "theta_plus", "extent": 2}),
        ("fca", {}),
        ("nam", {}),
    ],
)
def test_at_initialisation_the_others_about_halve(name, options):
    x, y = start(name, **options)
    np.testing.assert_allclose((y / x).mean(), 0.5, rtol=0.1)


def eca_window(channels):
    return {64: 3, 256: 5, 2048: 7}[channels]


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("ese", {}, lambda c, h: c * c + c),
        ("eca", {}, lambda c, h: eca_window(c)),
        ("ge", {}, lambda c, h: 0),
        ("ge", {"extent": 4}, lambda c, h: 0),
        ("ge", {"variant": "theta"}, lambda c, h: c * h * h + 2 * c),
        ("ge", {"variant": "theta", "extent": 8}, lambda c, h: 3 * (9 * c + 2 * c)),
        ("ge", {"variant": "theta_plus"}, lambda c, h: c * h * h + 2 * c + 2 * c * (c // 16) + c + c // 16),
        ("srm", {}, lambda c, h: 4 * c),
        ("gct", {}, lambda c, h: 3 * c),
        ("fca", {}, lambda c, h: 2 * c * (c // 16)),
        ("nam", {}, lambda c, h: 2 * c),
        ("sge", {}, lambda c, h: 2 * 64),
    ],
)
def test_number_of_parameters(name, options, wanted):
    module = attention.create(name, **options)
    for channels, side in ((64, 56), (256, 14), (2048, 7)):
        x = jnp.zeros((1, side, side, channels))
        variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)
        sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables.get("params", {}))]
        assert sum(sizes) == wanted(channels, side)


def test_ge_gathers_even_maps_of_another_size_alike():
    variables, evaluate, _ = prepared("ge_theta")
    assert variables["params"]["kernel"].shape == (5, 4, CHANNELS)
    levels = images(3, 1, 1, CHANNELS)
    small, large = (jnp.broadcast_to(levels, (3, *size, CHANNELS)) for size in ((5, 4), (10, 12)))
    assert_equal(True, evaluate(variables, large)[:, 0, 0], evaluate(variables, small)[:, 0, 0])


@pytest.mark.parametrize("options", [{"extent": 4}, {"variant": "theta_plus", "extent": 4}])
def test_ge_takes_a_volume_of_one_slice_for_an_image(options):
    module, x = attention.create("ge", **options), images(2, 9, 6, CHANNELS)
    variables = initialised(module, x[:, None])
    flat = jax.tree.map(lambda leaf: leaf[1] if leaf.ndim == 5 else leaf, variables)
    y = module.apply(variables, x[:, None], train=False)
    np.testing.assert_allclose(y[:, 0], module.apply(flat, x, train=False), rtol=1e-5)


def test_fca_has_its_authors_grids_at_224_to_416_pixels():
    for pixels in range(224, 417):
        sides = [math.ceil(pixels / stride) for stride in (4, 8, 16, 32)]
        assert [fitting_grid(side) for side in sides] == [56, 28, 14, 7]
    assert fitting_grid(1) == 7 and fitting_grid(112) == 112


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("eca", {"kernel_size": 4}, "ECA: kernel_size=4 is not an odd number"),
        ("ge", {"variant": "theta+"}, "'ge': variant='theta\\+' is none of 'theta_minus', 'theta', 'theta_plus'"),
        ("ge", {"extent": 3}, "'ge': extent=3 is none of 0, 2, 4, 8"),
        ("gct", {"mode": "l3"}, "'gct': mode='l3' is neither 'l2' nor 'l1'"),
        ("fca", {"grid": 8}, "'fca': grid=8 is not a multiple of 7"),
    ],
)
def test_wrong_options_get_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message):
        attention.create(name, **options)


def test_fca_refuses_volumes():
    with pytest.raises(UserError, match="'fca' is 2-D only"):
        attention.create("fca").init(jax.random.key(0), images(1, 2, 2, 2, 16), train=False)
