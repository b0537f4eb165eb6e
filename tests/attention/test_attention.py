"""Making mechanisms by name, and what every mechanism owes its callers."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax import attention
from attn_jax.errors import UserError

# Their definition has two axes.
FLAT = ("fca",)
# How many maps of which kind each shows.
ONE = {kind: {kind: 1} for kind in ("channel", "spatial", "full", "token", "branch")}
SOWN = {
    **dict.fromkeys(("se", "ese", "eca", "ge", "srm", "gct", "fca", "cse", "random_gate"), ONE["channel"]),
    **dict.fromkeys(("sse", "gc", "gate"), ONE["spatial"]),
    **dict.fromkeys(
        ("nam", "sge", "bam", "triplet", "coordinate", "simam", "shuffle", "ema", "ela", "caa"), ONE["full"]
    ),
    "lka": ONE["full"],
    **dict.fromkeys(("scse", "cbam", "mca", "psa_p", "psa_s"), {"channel": 1, "spatial": 1}),
    "scsa": {"full": 1, "token": 1, "channel": 1},
    "lsk": {"spatial": 2, "full": 1},
    **dict.fromkeys(("non_local", "external", "aa", "mhsa", "halo", "lambda"), ONE["token"]),
    **dict.fromkeys(("double", "criss_cross", "dual"), {"token": 2}),
    **dict.fromkeys(("sk", "split"), ONE["branch"]),
    **dict.fromkeys(("identity", "bottleneck"), {}),
}
KINDS = {"channel": (2, 32), "spatial": (2, 4, 3), "full": (2, 4, 3, 32)}


class Scale(nn.Module):
    """A mechanism from somewhere else."""

    factor: float = 2.0

    @nn.compact
    def __call__(self, x, *, train):
        return x * self.factor


def initialised(module, x):
    return jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))


def images(*shape):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), jnp.float32)


def test_none_is_no_module():
    assert attention.create(None) is None and attention.create("none") is None
    with pytest.raises(UserError, match="takes no options"):
        attention.create("none", reduction=4)


def test_names_callables_and_paths():
    assert attention.create("se", reduction=8) == attention.SE(reduction=8)
    assert attention.create(attention.CBAM, kernel_size=3) == attention.CBAM(kernel_size=3)
    assert attention.create(lambda reduction: attention.GC(reduction=reduction), reduction=4) == attention.GC(4)
    assert attention.create("attn_jax.attention.gc:GC", fusion="mul") == attention.GC(fusion="mul")
    assert attention.create(Scale, factor=3.0).factor == 3.0


@pytest.mark.parametrize(
    ("mechanism", "options", "message"),
    [
        ("cbma", {}, "'cbma' is unknown. Did you mean 'cbam'"),
        ("se", {"reductoin": 8}, "'se' has no option 'reductoin'. Did you mean 'reduction'?.*param_dtype"),
        ("nowhere.to:Find", {}, "cannot be imported"),
        ("attn_jax.attention:Absent", {}, "cannot be imported"),
        (":SE", {}, "cannot be imported"),
        (dict, {}, "makes a dict"),
        (lambda: None, {"a": 1}, "cannot be made"),
        ("gc", {"fusion": "sum"}, "neither 'add' nor 'mul'"),
        ("cbam", {"kernel_size": 4}, "CBAM: kernel_size=4 is not an odd number"),
        ("se", {"reduction": 0}, "SE: reduction=0 is not at least 1"),
        ("bam", {"dilation": 0}, "BAM: dilation=0 is not at least 1"),
        ("se", {"reduction": 16.0}, "SE: reduction=16.0 is not a whole number"),
        ("se", {"reduction": None}, "SE: reduction=None is not a whole number"),
        ("cbam", {"kernel_size": True}, "CBAM: kernel_size=True is not a whole number"),
        ("mhsa", {"heads": 4.0}, "MHSA: heads=4.0 is not a whole number"),
        ("sge", {"groups": 0}, "SGE: groups=0 is not at least 1"),
        ("halo", {"strides": 0}, "Halo: strides=0 is not at least 1"),
        (".mine:Gate", {}, "cannot be imported"),
    ],
)
def test_mistakes_get_one_clear_line(mechanism, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attention.create(mechanism, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 5, 3, 20), (2, 1, 1, 7), (2, 4, 3, 2, 32)], ids=str)
def test_keeps_the_shape_and_has_finite_gradients(name, shape):
    module, x = attention.create(name), images(*shape)
    if name in FLAT and len(shape) == 5:
        with pytest.raises(UserError, match="two spatial axes|2-D"):
            initialised(module, x)
        return
    variables = initialised(module, x)

    @jax.jit
    def loss_and_gradients(variables, x):
        def loss(variables, x):
            y, _ = module.apply(variables, x, train=True, mutable=["batch_stats", "attention"])
            return (y**2).sum(), y

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True, allow_int=True)(variables, x)

    for inputs in (x, jnp.zeros_like(x), jnp.full_like(x, 0.1)):
        (_, y), gradients = loss_and_gradients(variables, inputs)
        assert y.shape == x.shape and y.dtype == x.dtype
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_evaluation_changes_nothing_and_maps_are_sown_on_request(name):
    module, x = attention.create(name), images(2, 4, 3, 32)
    variables = initialised(module, x)
    assert set(variables) <= {"params", "batch_stats"}
    y, (same, state) = jax.jit(
        lambda v, x: (module.apply(v, x, train=False), module.apply(v, x, train=False, mutable=["attention"]))
    )(variables, x)
    np.testing.assert_array_equal(y, same)
    assert {kind: len(sown) for kind, sown in state.get("attention", {}).items()} == SOWN[name]
    for kind, sown in state.get("attention", {}).items():
        for maps in jax.tree.leaves(sown):
            if kind == "token":
                assert maps.ndim == 4 and maps.shape[0] == 2
                np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
            elif kind == "branch":
                assert maps.ndim == 3 and maps.shape[::2] == (2, 32)
            else:
                assert maps.shape == KINDS[kind]


def test_half_precision(name, stirred):
    x = images(2, 4, 3, 32)
    module, half = attention.create(name), attention.create(name, dtype=jnp.bfloat16)
    variables = stirred(initialised(half, x.astype(jnp.bfloat16)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype(jnp.float32)}

    @jax.jit
    def run(variables, x):
        low = x.astype(jnp.bfloat16)

        def loss(variables, x):
            y, _ = half.apply(variables, x, train=True, mutable=["batch_stats"])
            return (y.astype(jnp.float32) ** 2).sum()

        gradients = jax.grad(loss, argnums=(0, 1))(variables, low)
        pairs = ((half, low), (half, x), (module, low), (module, x))
        return [m.apply(variables, v, train=False) for m, v in pairs], gradients

    (*low, wanted), gradients = run(variables, x)
    assert all(np.isfinite(np.float32(leaf)).all() for leaf in jax.tree.leaves(gradients))
    assert [y.dtype for y in low] == [jnp.bfloat16] * 3
    # Criss-cross attention moves its input less than the others.
    least = 0.1 if name == "criss_cross" else 0.2
    assert (np.linalg.norm(wanted - x) > least * np.linalg.norm(x)) == (name != "identity")
    for y in low[:2]:
        # A bfloat16 is rounded by up to 0.4 %.
        error = np.abs(np.float32(y) - wanted)
        assert np.linalg.norm(error) < 0.015 * np.linalg.norm(wanted)
        assert error.max() < 0.15 * np.sqrt(np.mean(np.square(wanted)))


@pytest.mark.parametrize("name", ["gc", "psa_s"])
@pytest.mark.parametrize("channels", [4, 16])
def test_a_normalised_hidden_layer_of_few_channels_still_knows_the_image(name, channels):
    module, x = attention.create(name), images(8, 4, 3, channels)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), initialised(module, x))
    _, state = module.apply(variables, x, train=False, capture_intermediates=lambda m, _: m.name == "fc2", mutable=True)
    (found,) = jax.tree.leaves(state["intermediates"]["fc2"])
    assert len(np.unique(np.round(found.reshape(8, channels), 3), axis=0)) == 8


def test_import_is_light():
    heavy = "('tensorflow', 'tensorflow_datasets', 'matplotlib')"
    code = f"import sys, attn_jax.attention; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
