"""The negative controls against their formulas in NumPy, and that what they withhold cannot be learned."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax import attention, models
from attn_jax.attention.mechanism import Mechanism
from attn_jax.attention.random_gate import draw
from attn_jax.attention.shuffled import shuffle_maps
from attn_jax.errors import UserError

X = np.random.default_rng(3).standard_normal((8, 4, 3, 16)).astype(np.float32)


def start(module, x=X):
    return jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))


def run(module, variables, x=X, **keywords):
    """The output and, by kind, the first map."""
    y, state = module.apply(variables, x, mutable=["attention", "batch_stats"], **({"train": False} | keywords))
    return np.asarray(y), {kind: np.asarray(maps[0]) for kind, maps in state.get("attention", {}).items()}


def test_identity_is_nothing():
    module = attention.create("identity")
    assert start(module) == {}
    y, maps = run(module, {})
    np.testing.assert_array_equal(y, X)
    assert maps == {}


def test_bottleneck_is_a_residual_perceptron_of_ses_size():
    module = attention.create("bottleneck", reduction=4)
    variables = start(module)
    shapes = jax.tree.map(jnp.shape, variables)
    assert shapes == jax.tree.map(jnp.shape, start(attention.create("se", reduction=4)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), variables)
    fc1, fc2 = (variables["params"]["mlp"][name] for name in ("fc1", "fc2"))
    hidden = np.maximum(X @ fc1["kernel"] + fc1["bias"], 0)
    y, maps = run(module, variables)
    np.testing.assert_allclose(y, X + hidden @ fc2["kernel"] + fc2["bias"], rtol=1e-4, atol=1e-4)
    assert maps == {}


def test_random_gate_is_a_fixed_product():
    module = attention.create("random_gate")
    assert start(module) == {}
    y, maps = run(module, {})
    trained, _ = run(module, {}, train=True)
    gate = maps["channel"]
    np.testing.assert_array_equal(y, X * gate[:, None, None])
    np.testing.assert_array_equal(trained, y)
    assert (gate == gate[0]).all() and (gate > 0).all() and (gate < 1).all() and len(np.unique(gate)) == 16


def test_random_gates_follow_from_the_seed_and_the_place_alone():
    net = models.create("resnet18", num_classes=2, width=1 / 8, stem="small", attention="random_gate")
    net = net.clone(blocks=(2,))
    images = np.ones((1, 8, 8, 3), np.float32)
    variables = jax.jit(lambda key: net.init(key, images, train=True))(jax.random.key(0))
    _, state = jax.jit(lambda v: net.apply(v, images, train=False, mutable=["attention"]))(variables)
    for block in ("stage1_block1", "stage1_block2"):
        sown = state["attention"][block]["attention"]["channel"][0]
        np.testing.assert_array_equal(sown[0], draw(0, f"{block}/attention", 8))
        assert all("attention" not in variables[kind][block] for kind in ("params", "batch_stats"))
    drawn = [draw(seed, path, 8) for seed, path in ((0, "a"), (0, "b"), (1, "a"))]
    assert all((drawn[i] != drawn[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    # As recorded with jax 0.10.2: networks that were trained with these numbers need them.
    recorded = (0.9559850692749023, 0.6723579168319702, 0.8560796976089478)
    np.testing.assert_array_equal(draw(0, "stage1_block1/attention", 3), np.float32(recorded))


class Look(Mechanism):
    """Shows one map whose values all differ, and returns nothing else."""

    usual_placement: ClassVar[str] = "stage"
    usual_stages: ClassVar[tuple[int, ...]] = (2,)

    kind: str = "channel"

    @nn.compact
    def __call__(self, x, *, train):
        shape = SHAPES[self.kind]
        values = jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)
        return self.look(self.kind, jnp.broadcast_to(values, (x.shape[0], *shape)))


SHAPES = {"channel": (16,), "spatial": (4, 3), "full": (4, 3, 5), "token": (2, 3, 12), "branch": (2, 16)}
"""Without the batch; these axes change places, taken as one:"""
PERMUTED = {"channel": (0,), "spatial": (0, 1), "full": (0, 1), "token": (2,), "branch": (1,)}


@pytest.mark.parametrize("kind", SHAPES)
def test_shuffled_maps_keep_their_values_and_lose_their_places(kind):
    used, maps = run(shuffle_maps(Look)(kind=kind), {})
    np.testing.assert_array_equal(used, maps[kind])
    axes = PERMUTED[kind]
    plain = np.arange(np.prod(SHAPES[kind])).reshape(SHAPES[kind])
    rows = [
        np.moveaxis(one, axes, range(len(axes))).reshape(np.prod([one.shape[a] for a in axes]), -1)
        for one in (plain, *used)
    ]
    orders = [[rows[0].tolist().index(row) for row in image.tolist()] for image in rows[1:]]
    assert all(sorted(order) == list(range(len(rows[0]))) for order in orders)
    assert len(set(map(tuple, [*orders, range(len(rows[0]))]))) == len(X) + 1


@pytest.fixture(scope="module")
def shuffled_cbam():
    module = attention.create("shuffled:cbam", reduction=4)
    return module, start(module)


def test_shuffled_mechanism_uses_what_it_sows_and_has_the_parameters_of_the_plain_one(shuffled_cbam):
    module, variables = shuffled_cbam
    plain = attention.create("cbam", reduction=4)
    jax.tree.map(np.testing.assert_array_equal, variables, start(plain))
    params = {**variables["params"], "norm": {"scale": np.ones(1, np.float32), "bias": np.zeros(1, np.float32)}}
    variables = {**variables, "params": params}
    y, maps = run(module, variables)
    np.testing.assert_allclose(y, X * maps["channel"][:, None, None] * maps["spatial"][..., None], rtol=1e-5)
    _, usual = run(plain, variables)
    np.testing.assert_allclose(np.sort(maps["channel"]), np.sort(usual["channel"]), rtol=1e-5)
    assert (np.abs(maps["channel"] - usual["channel"]).max(1) > 0.01).all()
    # The second map is that of an input which the first has already scaled otherwise.
    assert (np.abs(maps["spatial"] - usual["spatial"]).reshape(8, -1).max(1) > 0.01).all()


def test_shuffling_depends_on_the_image_alone(shuffled_cbam):
    module, variables = shuffled_cbam
    _, maps = run(module, variables)
    noisy = X * (1 + 1e-6 * np.random.default_rng(1).standard_normal(X.shape).astype(np.float32))
    jitted = jax.jit(lambda x: module.apply(variables, x, train=False, mutable=["attention"])[1]["attention"])
    for x, which in ((X[5:6], [5]), (X[::-1], range(7, -1, -1)), (noisy, range(8))):
        np.testing.assert_allclose(run(module, variables, x)[1]["channel"], maps["channel"][list(which)], atol=1e-4)
    np.testing.assert_allclose(jitted(X)["channel"][0], maps["channel"], atol=1e-5)
    # In training the channels' gates are the same, the others are normalised otherwise.
    np.testing.assert_allclose(run(module, variables, train=True)[1]["channel"], maps["channel"], atol=1e-6)


def test_shuffled_gradients_pass_through_the_permutation():
    module = attention.create("shuffled:simam")
    gradient = jax.jit(jax.grad(lambda x: module.apply({}, x, train=True).sum()))
    for x in (X, np.zeros_like(X)):
        assert np.isfinite(gradient(x)).all()
    _, maps = run(module, {})
    assert np.abs(gradient(X) - maps["full"]).max() > 0.01


def test_shuffled_stands_wherever_the_mechanism_does():
    def places(name, **options):
        net = models.create("resnet18", num_classes=2, width=1 / 8, stem="small", attention=name, **options)
        shape = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
        return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), shape)["params"]

    for name in ("gc", "bam", "attn_jax.attention.mhsa:MHSA"):
        assert jax.tree.map(jnp.shape, places(f"shuffled:{name}")) == jax.tree.map(jnp.shape, places(name))
    assert attention.create("shuffled:gate").usual_placement == "block"


class Inside(nn.Module):
    """Holds a mechanism, looks at nothing itself, and takes more than the input."""

    @nn.compact
    def __call__(self, x, *, train, factor=1.0):
        return Look(name="inner")(x, train=train) * factor


def test_shuffled_reaches_inner_mechanisms_and_passes_keywords_on():
    module = shuffle_maps(Inside)()
    y = module.apply({}, X, train=False, factor=2.0)
    np.testing.assert_array_equal(np.sort(y), np.broadcast_to(2.0 * np.arange(16), (8, 16)))
    assert (y != 2.0 * np.arange(16)).any(1).all()


@pytest.mark.parametrize("name", ["identity", "bottleneck"])
def test_what_looks_at_nothing_cannot_be_shuffled(name):
    module = attention.create(f"shuffled:{name}")
    with pytest.raises(UserError, match="looks at no map; shuffle one that does") as caught:
        jax.eval_shape(lambda: module.init(jax.random.key(0), X, train=False))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("shuffled:shuffled:cbam", {}, "after 'shuffled:' stands a mechanism, as in 'shuffled:cbam'"),
        ("shuffled:none", {}, "after 'shuffled:' stands a mechanism"),
        ("shuffled:cbma", {}, "Did you mean 'cbam'"),
        ("shuffled:attn_jax.attention:create", {}, "is not a class of flax.linen modules"),
        ("shuffled:cbam", {"reductoin": 8}, "'shuffled:cbam' has no option 'reductoin'. Did you mean 'reduction'"),
    ],
)
def test_mistakes_get_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attention.create(name, **options)
    assert "\n" not in str(caught.value)
