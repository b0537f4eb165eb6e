"""Mechanisms that replace a convolution against PyTorch (tests/goldens/attention/replacing.py), and what marks them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax import attention, models
from attn_jax.errors import UserError
from attn_jax.models.cost import parameters

VOLUME = {"features": 48, "strides": 2}
SK_NAMES = {name: name for name in ("conv1", "conv2", "norm1", "norm2", "fc1", "norm", "fc2")}
SK_TIMM = {
    **{f"conv{m + 1}": f"paths.{m}.conv" for m in range(2)},
    **{f"norm{m + 1}": f"paths.{m}.bn" for m in range(2)},
    **{"fc1": "attn.fc_reduce", "norm": "attn.bn", "fc2": "attn.fc_select"},
}
SPLIT_NAMES = {name: name for name in ("conv", "norm1", "fc1", "norm2", "fc2")}
SPLIT_TIMM = {**SPLIT_NAMES, "norm1": "bn0", "norm2": "bn1"}
POSITIONS = {f"position{axis}": f"positions.axis{axis}" for axis in range(3)}
BOT_TIMM = {"position0": "pos_embed.height_rel", "position1": "pos_embed.width_rel"}
HALO_TIMM = {"q": "q", "kv": "kv", **BOT_TIMM}
LAMBDA_NAMES = {name: name for name in ("qkv", "norm_q", "norm_v", "conv")}
PARITY = {
    "sk": {"mechanism": "sk", "names": SK_TIMM},
    "sk_3d": {"mechanism": "sk", "options": VOLUME, "names": SK_NAMES},
    "split": {"mechanism": "split", "names": SPLIT_TIMM},
    "split_3d": {"mechanism": "split", "options": VOLUME, "names": SPLIT_NAMES},
    "aa": {"mechanism": "aa", "names": {"conv": "conv", "qkv": "qkv", "out": "out", **POSITIONS}},
    "aa_3d": {
        "mechanism": "aa",
        "options": {**VOLUME, "heads": 4, "kappa": 0.5, "upsilon": 0.25, "min_depth": 2},
        "names": {"conv": "conv", "qkv": "qkv", "out": "out", **POSITIONS},
    },
    "mhsa": {"mechanism": "mhsa", "names": {"qkv": "qkv", **BOT_TIMM}},
    "mhsa_timm": {"mechanism": "mhsa", "options": {"scale_positions": False}, "names": {"qkv": "qkv", **BOT_TIMM}},
    "mhsa_3d": {"mechanism": "mhsa", "options": VOLUME, "names": {"qkv": "qkv", **POSITIONS}},
    "halo": {"mechanism": "halo", "names": {ours: f"attn.{theirs}" for ours, theirs in HALO_TIMM.items()}},
    "halo_3d": {
        "mechanism": "halo",
        "options": {**VOLUME, "block_size": 4, "halo_size": 1},
        "names": {"q": "q", "kv": "kv", **POSITIONS},
    },
    "halo_masked": {"mechanism": "halo", "options": {"masked": True}, "names": {"q": "q", "kv": "kv", **POSITIONS}},
    "lambda": {"mechanism": "lambda", "names": {**LAMBDA_NAMES, "conv": "conv_lambda"}},
    "lambda_3d": {"mechanism": "lambda", "options": {**VOLUME, "kernel_size": 3}, "names": LAMBDA_NAMES},
}
NAMES = ("sk", "split", "aa", "mhsa", "halo", "lambda")
SMALL = {"halo": {"block_size": 2, "halo_size": 1}}


@pytest.mark.parametrize("golden", PARITY)
def test_output_and_gradients_equal_pytorch(golden, check_parity):
    check_parity(golden, **PARITY[golden])


def images(*shape):
    return jnp.asarray(np.random.default_rng(3).standard_normal(shape), jnp.float32)


def start(name, x, **options):
    """The mechanism as a function of variables and images, in evaluation, and its variables."""
    module = attention.create(name, **options)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    return jax.jit(lambda variables, x: module.apply(variables, x, train=False, mutable=["attention"])), variables


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_features_and_strides_asked_for(name):
    x = images(2, 5, 4, 16)
    apply, variables = start(name, x, features=24, strides=2, **SMALL.get(name, {}))
    y, state = apply(variables, x)
    assert y.shape == (2, 3, 2, 24)
    (kind,) = state["attention"]
    np.testing.assert_allclose(state["attention"][kind][0].sum(1 if kind == "branch" else -1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_equivariant_to_flips_only_with_windows_and_distances_flipped(name):
    x = images(2, 4, 6, 16)
    apply, variables = start(name, x, **SMALL.get(name, {}))

    def flip(path, leaf):
        if name == "halo" and path[-1].key == "position0":
            unused = 2 * SMALL["halo"]["halo_size"]
            return leaf.at[unused:].set(jnp.flip(leaf[unused:], 0))
        return jnp.flip(leaf, 0) if path[-1].key == "position0" or leaf.ndim == 4 else leaf

    mirrored = jax.tree_util.tree_map_with_path(flip, variables)
    wanted = np.flip(apply(variables, x)[0], 1)
    np.testing.assert_allclose(apply(mirrored, jnp.flip(x, 1))[0], wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(apply(variables, jnp.flip(x, 1))[0] - wanted).max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_meet_only_in_normalisation(name):
    x = images(3, 4, 4, 16)
    module = attention.create(name, **SMALL.get(name, {}))
    _, variables = start(name, x, **SMALL.get(name, {}))
    apply = jax.jit(
        lambda x, train: module.apply(variables, x, train=train, mutable=["batch_stats"])[0], static_argnums=1
    )
    changed = x.at[1:].mul(2.0)
    for train in (False, True):
        same = np.allclose(apply(x, train)[0], apply(changed, train)[0], rtol=1e-5, atol=1e-6)
        assert same == (not train or name in ("aa", "mhsa", "halo"))


def reach(name, **options):
    """Which of 6 x 6 positions the first output depends on."""
    x = images(1, 6, 6, 16)
    apply, variables = start(name, x, **options)
    dx = jax.jit(jax.grad(lambda x: (apply(variables, x)[0][0, 0, 0] ** 2).sum()))(x)
    return np.abs(dx[0]).sum(-1) > 1e-9


def test_halo_sees_its_block_and_the_halo_where_attention_sees_all():
    seen = reach("halo", block_size=2, halo_size=1)
    assert seen[:3, :3].all() and seen.sum() == 9
    assert reach("mhsa").all() and reach("lambda", kernel_size=3).all()


def test_halo_attends_to_zeros_beyond_the_image_unless_masked():
    x = images(1, 3, 3, 16)
    for masked in (False, True):
        apply, variables = start("halo", x, masked=masked)
        weights = apply(variables, x)[1]["attention"]["token"][0].reshape(8, 9, 9, 9)
        inside = weights[:, :, 3:6, 3:6].sum((2, 3))
        assert np.allclose(inside, 1) if masked else inside.max() < 0.9


class PlacedHalo(attention.Halo):
    """Sows its map as its layout places it in the image."""

    def look(self, kind, map, layout=None):
        self.sow("attention", kind, layout(map))
        return map


def test_halos_map_placed_in_the_image_gives_its_output():
    x = images(2, 5, 4, 16)
    apply, variables = start(PlacedHalo, x, strides=2, block_size=2, halo_size=1)
    y, state = apply(variables, x)
    values = (x @ variables["params"]["kv"]["kernel"]).reshape(2, 5, 4, 8, 2, 2)[..., 1, :]
    sums = jnp.einsum("bhijxy,bxyhe->bijhe", state["attention"]["token"][0], values)
    np.testing.assert_allclose(y, sums.reshape(y.shape), rtol=1e-4, atol=1e-5)


def test_halo_of_one_block_without_halo_is_mhsa_up_to_the_positions_scale():
    x = images(2, 4, 4, 16)
    halo, of_halo = start("halo", x, heads=4, block_size=4, halo_size=0)
    mhsa, of_mhsa = start("mhsa", x)
    params = of_halo["params"]
    kv = params["kv"]["kernel"].reshape(16, 4, 2, 4)
    joined = jnp.concatenate([params["q"]["kernel"], *(kv[:, :, part].reshape(16, 16) for part in range(2))], 1)
    scaled = {name: params[name] * 2 for name in ("position0", "position1")}
    y = mhsa({"params": {"qkv": {"kernel": joined}, **scaled}}, x)[0]
    assert jax.tree.map(jnp.shape, of_mhsa["params"]) == jax.tree.map(jnp.shape, {"qkv": {"kernel": joined}, **scaled})
    np.testing.assert_allclose(halo(of_halo, x)[0], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["aa", "mhsa"])
def test_tables_stretch_to_other_sizes(name):
    apply, variables = start(name, images(1, 4, 4, 16))
    params = variables["params"]
    assert params["position0"].shape[0] == 7
    level = {**params, **{key: jnp.ones_like(params[key]) for key in ("position0", "position1")}}
    none = {**params, **{key: jnp.zeros_like(params[key]) for key in ("position0", "position1")}}
    x = images(1, 7, 3, 16)
    ys = [apply({"params": chosen}, x)[0] for chosen in (params, level, none)]
    np.testing.assert_allclose(ys[1], ys[2], rtol=1e-4, atol=1e-5)  # a constant in a softmax
    assert np.abs(ys[0] - ys[2]).max() > 1e-3


def test_weights_of_branches_start_near_equal_shares():
    x = images(4, 6, 5, 64)
    for name, options, share in (("sk", {"branches": 3}, 1 / 3), ("split", {}, 1 / 2), ("split", {"radix": 1}, 1 / 2)):
        apply, variables = start(name, x, **options)
        weights = apply(variables, x)[1]["attention"]["branch"][0]
        assert weights.shape == (4, round(1 / share) if name == "sk" else options.get("radix", 2), 64)
        assert np.abs(weights - share).mean() < 0.15


def test_most_channels_of_aa_are_a_plain_convolution():
    x = images(2, 4, 4, 64)
    apply, variables = start("aa", x)
    kernel = variables["params"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 64, 58)
    plain = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(apply(variables, x)[0][..., :58], plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("options", "shape"), [({}, (1, 4, 4, 7)), ({"upsilon": 1.0}, None)])
def test_aa_with_few_channels_or_nothing_but_attention(options, shape):
    x = images(2, 3, 3, 8)
    apply, variables = start("aa", x, **options)
    assert ("conv" in variables["params"]) == (shape is not None)
    assert apply(variables, x)[0].shape == x.shape


@pytest.mark.parametrize(
    ("network", "mechanism", "options", "count"),
    [
        ("resnext50", "sk", {}, 27_479_784),  # pytorchcv's sknet50
        ("resnet50d", "split", {}, 27_483_240),  # timm's resnest50d
        ("resnet50", "aa", {}, 25_813_872),  # the paper's 25.8 M
        ("resnet101", "aa", {}, 45_391_208),  # the paper's 45.4 M
        # keras_cv_attention_models' BotNet50 but for its last stage, which keeps 14 x 14: two tables of 27 each, not 13
        ("resnet50", "mhsa", {}, 20_859_176 - 2 * 2 * (27 - 13) * 128),
    ],
)
def test_parameters_of_published_networks(network, mechanism, options, count):
    model = models.create(network, num_classes=1000, attention=mechanism, attention_options=options)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)), train=False))
    assert parameters(shapes) == count


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sk", {"branches": 0}, "'sk': branches=0"),
        ("sk", {"groups": 0}, "'sk': groups=0"),
        ("split", {"radix": 0}, "'split': radix=0"),
        ("split", {"min_hidden": 0}, "'split': min_hidden=0"),
        ("aa", {"heads": 0}, "'aa': heads=0"),
        ("aa", {"upsilon": 0.0}, "'aa': upsilon=0.0 is a share"),
        ("aa", {"kappa": 2.0}, "'aa': kappa=2.0 is a share"),
        ("mhsa", {"heads": 0}, "'mhsa': heads=0"),
        ("halo", {"halo_size": -1}, "'halo': halo_size=-1 must be at least 0"),
        ("halo", {"block_size": 7, "strides": 2}, "'halo': block_size=7 is not a multiple of 2 strides"),
        ("lambda", {"depth": 0}, "'lambda': depth=0"),
        ("lambda", {"kernel_size": 8}, "LambdaLayer: kernel_size=8 is not an odd number"),
    ],
)
def test_mistakes_get_one_clear_line(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attention.create(name, **options)
    assert "\n" not in str(caught.value)
