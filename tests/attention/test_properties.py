"""What every mechanism does to images that change places, are mirrored, or have their channels renamed."""

import jax
import numpy as np
import pytest

from attn_jax import attention

X = np.random.default_rng(1).standard_normal((2, 4, 6, 32)).astype(np.float32)
ORDER = np.random.default_rng(5).permutation(32)
# With their usual groups, a group has one of these channels; BAM's usual dilation reaches beyond these rows.
OPTIONS = {"sge": {"groups": 4}, "ema": {"factor": 4}, "bam": {"dilation": 2}}
# Mirrored images give mirrored output: nothing here knows left from right.
FLIP = {
    *("se", "ese", "eca", "ge", "srm", "gct", "nam", "sge", "sse", "cse", "scse", "coordinate", "simam", "shuffle"),
    *("psa_p", "psa_s", "gc", "non_local", "double", "criss_cross", "dual", "external"),
    *("identity", "bottleneck", "random_gate"),
}
# Mirrored images give mirrored output once the kernels are mirrored, too: not where one runs along the channels.
FLIP_WITH_KERNELS = {
    *(FLIP - {"eca"}),
    *("cbam", "bam", "ema", "ela", "caa", "scsa", "lka", "lsk", "gate", "sk", "split", "lambda"),
}
# Channels may change places: in the parameters, too, and without that.
PERMUTE_WITH_PARAMETERS = {
    *("se", "ese", "ge", "srm", "gct", "nam", "sse", "cse", "scse", "cbam", "bam", "coordinate", "simam", "ela", "caa"),
    *("psa_p", "psa_s", "lka", "lsk", "gc", "non_local", "double", "criss_cross", "dual", "external", "gate"),
    *("identity", "bottleneck"),
}
PERMUTE = {"ge", "simam", "identity"}


@pytest.fixture(scope="module")
def made(name, stirred):
    """A mechanism's name, its output as a function of variables and input, and its stirred variables."""
    module = attention.create(name, **OPTIONS.get(name, {}))
    variables = jax.jit(lambda key: module.init(key, X, train=False))(jax.random.key(0))
    variables = stirred(variables)
    apply = jax.jit(lambda variables, x: module.apply(variables, x, train=False))
    return name, lambda variables, x: np.asarray(apply(variables, x)), variables


def assert_equal(wanted, one, other):
    """Whether both are equal, or, where that is not wanted, plainly differ; of the largest number."""
    apart = np.abs(one - other).max() / np.abs(one).max()
    assert apart < 1e-5 if wanted else apart > 1e-2, apart


def permuted(leaf):
    """A parameter with every axis of channels in `ORDER`; nothing else here has 32 entries."""
    for axis, size in enumerate(leaf.shape):
        leaf = np.take(leaf, ORDER, axis) if size == len(ORDER) else leaf
    return leaf


def mirrored(leaf):
    """A kernel of a convolution with all its spatial axes mirrored."""
    return np.flip(leaf, range(leaf.ndim - 2)) if leaf.ndim > 2 else leaf


def test_images_do_not_see_each_other(made):
    _, f, variables = made
    other = np.stack([X[0], -2 * X[1]])
    np.testing.assert_array_equal(f(variables, other)[0], f(variables, X)[0])
    assert (f(variables, other)[1] != f(variables, X)[1]).any()


def test_flips(made):
    name, f, variables = made
    wanted = np.flip(f(variables, X), (1, 2))
    assert_equal(name in FLIP, wanted, f(variables, np.flip(X, (1, 2))))
    assert_equal(name in FLIP_WITH_KERNELS, wanted, f(jax.tree.map(mirrored, variables), np.flip(X, (1, 2))))


@pytest.mark.parametrize("axis", [1, 2])
def test_flips_of_one_axis(made, axis):
    name, f, variables = made
    wanted = np.flip(f(variables, X), axis)
    assert_equal(name in FLIP, wanted, f(variables, np.flip(X, axis)))
    # Of a kernel along one axis, nothing tells here along which.
    if all(leaf.ndim != 3 for leaf in jax.tree.leaves(variables)):
        turned = jax.tree.map(lambda leaf: np.flip(leaf, axis - 1) if leaf.ndim == 4 else leaf, variables)
        assert_equal(name in FLIP_WITH_KERNELS, wanted, f(turned, np.flip(X, axis)))


def test_permutations_of_channels(made):
    name, f, variables = made
    wanted = f(variables, X)[..., ORDER]
    assert_equal(name in PERMUTE, wanted, f(variables, X[..., ORDER]))
    assert_equal(name in PERMUTE_WITH_PARAMETERS, wanted, f(jax.tree.map(permuted, variables), X[..., ORDER]))


@pytest.mark.parametrize(("name", "least", "most"), [("bottleneck", 0.01, 0.5), ("gate", 0.8, 3.0), ("identity", 0, 0)])
def test_how_far_from_the_identity_they_start(name, least, most):
    """What bottleneck adds is small, a gate's transform is far from its input; others in their families' files."""
    module = attention.create(name)
    y, _ = jax.jit(lambda key: module.init_with_output(key, X, train=False))(jax.random.key(0))
    assert least <= np.linalg.norm(y - X) / np.linalg.norm(X) <= most
