"""Large kernels against PyTorch (tests/goldens/attention/large_kernel.py), how far they see, and how they scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention

LKA_NAMES = {name: name for name in ("conv0", "conv_spatial", "conv1")}
LSK_NAMES = LKA_NAMES | {name: name for name in ("conv2", "conv_squeeze", "conv")}
WRAPPED = {"options": {"wrapped": True}, "names": LKA_NAMES | {"proj1": "proj_1", "proj2": "proj_2"}}
PARITY = {
    "lka": {"mechanism": "lka", "names": LKA_NAMES},
    "lka_3d": {"mechanism": "lka", "names": LKA_NAMES},
    "lka_wrapped": {"mechanism": "lka", **WRAPPED},
    "lsk": {"mechanism": "lsk", "names": LSK_NAMES},
    "lsk_3d": {"mechanism": "lsk", "names": LSK_NAMES},
}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


def random_variables(module, shape):
    random = np.random.default_rng(4)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(shape), train=False))

    def fill(leaf):
        return random.uniform(0.01, 0.1, leaf.shape).astype(np.float32)

    return jax.tree.map(fill, variables)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("lka", {}, lambda c: c**2 + 77 * c),
        ("lka", {"wrapped": True}, lambda c: 3 * c**2 + 79 * c),
        ("lsk", {}, lambda c: 3 * c**2 // 2 + 79 * c - c + 2 * 2 * 49 + 2),
    ],
)
@pytest.mark.parametrize("channels", [64, 2048])
def test_number_of_parameters(name, options, count, channels):
    module = attention.create(name, **options)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 2, 3, channels)), train=False))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == count(channels)


@pytest.mark.parametrize(("name", "reach"), [("lka", 2 + 9), ("lsk", 2 + 9 + 3), ("caa", 3 + 5)])
def test_sees_a_square_around_each_position_and_nothing_else(name, reach):
    module, shape, place = attention.create(name), (1, 31, 33, 4), (15, 16)
    variables = random_variables(module, shape)
    x = np.random.default_rng(5).uniform(0.5, 1, shape).astype(np.float32)
    at_place = jax.jit(jax.grad(lambda x: module.apply(variables, x, train=False)[0, *place].sum()))
    rows, columns = np.nonzero(np.asarray(at_place(x))[0].any(-1))
    assert (rows.min(), rows.max()) == (place[0] - reach, place[0] + reach)
    assert (columns.min(), columns.max()) == (place[1] - reach, place[1] + reach)
    assert len(rows) == (2 * reach + 1) ** 2


X = np.random.default_rng(3).standard_normal((3, 12, 13, 8)).astype(np.float32)


def start(name, **options):
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, jnp.asarray(X), train=False))(jax.random.key(0))
    return {"params": variables["params"]}, jax.jit(lambda v, x: module.apply(v, x, train=False))


def test_lka_is_of_second_degree_at_initialisation_and_lsk_is_not():
    for name, holds in (("lka", True), ("lsk", False)):
        variables, apply = start(name)
        assert np.allclose(apply(variables, 2 * X), 4 * apply(variables, X), rtol=1e-4, atol=1e-4) == holds


def test_wrapped_lka_adds_to_its_input():
    variables, apply = start("lka", wrapped=True)
    variables["params"]["proj2"] = jax.tree.map(jnp.zeros_like, variables["params"]["proj2"])
    np.testing.assert_array_equal(apply(variables, X), X)


@pytest.mark.parametrize("name", ["lka", "lsk"])
def test_turns_with_its_kernels_and_images_do_not_meet(name):
    module = attention.create(name)
    variables = random_variables(module, X.shape)
    apply = jax.jit(lambda v, x: module.apply(v, x, train=False))
    turned = jax.tree.map(lambda leaf: np.flip(leaf, tuple(range(leaf.ndim - 2))), variables)
    y, ahead = apply(variables, X), X[:, ::-1, ::-1]
    np.testing.assert_allclose(apply(turned, ahead), y[:, ::-1, ::-1], rtol=1e-4, atol=1e-5)
    assert not np.allclose(apply(variables, ahead), y[:, ::-1, ::-1], rtol=1e-2, atol=1e-3)
    alone = np.concatenate([X[:1], np.zeros_like(X[1:])])
    np.testing.assert_allclose(apply(variables, alone)[0], y[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lka", "lsk"])
def test_computes_in_the_type_asked_for(name):
    module = attention.create(name, dtype=jnp.bfloat16)
    y = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros(X.shape), train=False)[0])
    assert y.dtype == jnp.bfloat16
