"""ResNet's descendants, DenseNet and VGG: torchvision's and timm's tensors and logits, and where mechanisms land."""

import pathlib
import runpy
from typing import ClassVar

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import linen as nn

from attn_jax import models
from attn_jax.errors import UserError
from attn_jax.models import cost, vgg, weights
from attn_jax.models.slot import Slot

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
GOLDEN = np.load(GOLDENS / "backbones_cnn.npz")
HASH = runpy.run_path(str(GOLDENS / "hash_weights.py"))
NAMES = ("resnet50d", "resnext50", "wide_resnet50", "densenet121", "vgg16_bn")


class Probe(nn.Module):
    """Leaves its input as it is and remembers the shape in a parameter's."""

    @nn.compact
    def __call__(self, x, *, train):
        self.param("seen", nn.initializers.zeros, x.shape[1:], jnp.float32)
        return x


class Replacement(nn.Module):
    """Stands in place of a convolution; its kernel has the channels in and out, its name says the stride."""

    normalised: ClassVar[bool] = False

    features: int = 0
    strides: int = 1

    @nn.compact
    def __call__(self, x, *, train):
        step = (slice(None), *(slice(None, None, self.strides),) * (x.ndim - 2))
        return nn.Dense(self.features, use_bias=False, name=f"strides{self.strides}")(x[step])


class Finished(Replacement):
    """As one that ends in a norm and an activation."""

    normalised: ClassVar[bool] = True


class Opposite(nn.Module):
    """`-x`"""

    @nn.compact
    def __call__(self, x, *, train):
        return -x


def shapes(model, *shape):
    """Of the variables for images [1, *shape]: no compile."""
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *shape)), train=False))


def flat(tree):
    return {"/".join(path): leaf.shape for path, leaf in flax.traverse_util.flatten_dict(tree).items()}


def listed(which):
    """Name in PyTorch -> shape, of a golden network."""
    pairs = (str(line).split(":") for line in GOLDEN[f"{which}_tensors"])
    return {name: tuple(map(int, shape.split(","))) for name, shape in pairs}


def hashed(which, folder):
    """A safetensors file of a golden network."""
    path = folder / "weights.safetensors"
    arrays = {name: HASH["weight"](name, shape).astype(np.float32) for name, shape in listed(which).items()}
    safetensors.numpy.save_file(arrays, path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_theirs(name):
    model = models.create(name, num_classes=1000)
    variables = shapes(model, 64, 64, 3)
    ours = {}
    for path, shape in (flat(variables["params"]) | flat(variables["batch_stats"])).items():
        module, _, leaf = path.rpartition("/")
        layout = (*shape[:-3:-1], *shape[:-2]) if leaf == "kernel" else shape
        ours[f"{model.torch_name(module)}.{weights.LEAVES.get(leaf, leaf)}"] = layout
    assert ours == listed(name)
    assert cost.parameters(variables) == GOLDEN[f"{name}_parameters"]


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        *((name, 1, (72, 56)) for name in NAMES[:-1] if name != "wide_resnet50"),
        pytest.param("wide_resnet50", 1, (72, 56), marks=pytest.mark.full),
        ("vgg16_bn", 1 / 8, (320, 72)),
        # Its weights take a gigabyte.
        pytest.param("vgg16_bn", 1, (40, 72), marks=pytest.mark.full),
    ],
)
def test_logits_are_theirs(name, width, size, tmp_path):
    which = name if width == 1 else f"{name}_narrow"
    path = hashed(which, tmp_path)
    with jax.enable_x64(True):
        model = models.create(name, num_classes=1000, width=width, param_dtype=jnp.float64)
        variables = weights.load(path, shapes(model, 32, 32, 3), rename=model.torch_name)
        path.unlink()
        images = jnp.asarray(np.moveaxis(HASH["signed"]((1, 3, *size), 12345), 1, -1))
        logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    wanted = GOLDEN[which]
    np.testing.assert_allclose(HASH["sampled"](logits), wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


def places(name, attention, **options):
    """Path of each mechanism in a narrow network for small images -> what it saw."""
    model = models.create(name, num_classes=2, width=1 / 8, stem="small", attention=attention, **options)
    found = flat(shapes(model, 32, 24, 3)["params"])
    return {path: shape for path, shape in found.items() if "attention" in path}


def test_block_placement():
    """Channels out of the residual branch, of a dense layer before it joins the others, of a convolution."""
    stage = {"placement": "block", "stages": (2,)}
    for name in ("resnext50", "wide_resnet50", "resnet50d"):
        found = places(name, Probe, **stage)
        assert found == {f"stage2_block{i}/attention/seen": (16, 12, 64) for i in (1, 2, 3, 4)}
    assert places("densenet121", Probe, **stage) == {
        f"stage2_layer{i}/attention/seen": (16, 12, 4) for i in range(1, 13)
    }
    found = places("vgg16_bn", Probe, placement="block", stages=(1, 2))
    assert found == {
        "stem/attention/seen": (32, 24, 8),
        "stage1_block2/attention/seen": (32, 24, 8),
        "stage2_block1/attention/seen": (32, 24, 16),
        "stage2_block2/attention/seen": (32, 24, 16),
    }


def test_stage_placement():
    """Behind a dense block's six layers of 4 on a stem of 8, and VGG's stages before their pooling."""
    for name in ("resnext50", "wide_resnet50", "resnet50d"):
        assert places(name, Probe, placement="stage", stages=(3,)) == {"stage3_attention/seen": (8, 6, 128)}
    assert places("densenet121", Probe, placement="stage", stages=(1, 4)) == {
        "stage1_attention/seen": (32, 24, 8 + 6 * 4),
        "stage4_attention/seen": (4, 3, 64 + 16 * 4),
    }
    sizes = [(32, 24, 8), (32, 24, 16), (16, 12, 32), (8, 6, 64), (4, 3, 64)]
    found = places("vgg16_bn", Probe, placement="stage")
    assert found == {f"stage{i}_attention/seen": size for i, size in enumerate(sizes, start=1)}


def test_conv_placement():
    """The 3 x 3 alone gives way, and its replacement is told channels and stride."""
    stage = {"stages": (2,)}
    for name, width in (("resnext50", 32), ("wide_resnet50", 32), ("resnet50d", 16)):
        found = places(name, Replacement, **stage)
        assert found.pop("stage2_block1/attention/strides2/kernel") == (width, width)
        assert found == {f"stage2_block{i}/attention/strides1/kernel": (width, width) for i in (2, 3, 4)}
    found = places("densenet121", Replacement, **stage)
    assert found == {f"stage2_layer{i}/attention/strides1/kernel": (16, 4) for i in range(1, 13)}
    found = places("vgg16_bn", Replacement, stages=(1, 5))
    assert found == {
        "stage1_block2/attention/strides1/kernel": (8, 8),
        **{f"stage5_block{i}/attention/strides1/kernel": (64, 64) for i in (1, 2, 3)},
    }


@pytest.mark.parametrize(
    ("name", "block", "missing"),
    [
        ("resnext50", "stage2_block2", "conv2"),
        ("densenet121", "stage2_layer2", "conv2"),
        ("vgg16_bn", "stage2_block2", "conv"),
    ],
)
def test_what_is_replaced_is_gone(name, block, missing):
    def inside(attention):
        model = models.create(name, num_classes=2, width=1 / 8, stem="small", attention=attention, stages=(2,))
        return set(shapes(model, 32, 32, 3)["params"][block])

    assert inside(Replacement) == inside(None) - {missing} | {"attention"}
    # A dense layer has no norm behind its convolution that a replacement's own could make superfluous.
    norm = set() if name == "densenet121" else {missing.replace("conv", "norm")}
    assert inside(Finished) == inside(Replacement) - norm


def test_a_mechanism_in_vgg_comes_before_the_relu():
    x = jnp.asarray(HASH["signed"]((1, 4, 4, 3), 1), jnp.float32)
    plain = vgg.Block(5, 1)
    variables = plain.init(jax.random.key(0), x, train=False)
    positive, negative = (
        block.apply(variables, x, train=False) for block in (plain, plain.clone(attention=Slot(Opposite())))
    )
    assert (positive * negative == 0).all() and (positive + negative > 0).all()


def test_stages_are_the_networks():
    with pytest.raises(UserError, match=r"stages: 6 is none of the network's stages 1, 2, 3, 4, 5$"):
        models.create("vgg16_bn", num_classes=2, attention="se", stages=(5, 6))
    with pytest.raises(UserError, match=r"stages: 5 is none of the network's stages 1, 2, 3, 4$"):
        models.create("densenet121", num_classes=2, attention="se", stages=(5,))


@pytest.mark.parametrize(
    ("name", "usual", "block", "stage"),
    [
        ("densenet121", (3, 4), (3, 4), (3, 4)),
        ("efficientnet_lite0", (3, 4), (4, 5, 6, 7), (5, 7)),
        ("mobilenet_v2", (1,), (2,), (2,)),
        ("vgg16_bn", (1, 2), (3, 4), (3, 4)),
        ("vgg16_bn", (3, 4), (5,), (5,)),
    ],
)
def test_usual_stages_are_those_of_a_resnets_strides(name, usual, block, stage):
    class Usual(Probe):
        usual_stages: ClassVar[tuple[int, ...]] = usual

    for placement, wanted in (("block", block), ("stage", stage)):
        assert models.create(name, num_classes=2, attention=Usual, placement=placement).attention.stages == wanted


@pytest.mark.parametrize("name", models.MODELS)
def test_strides_are_those_of_the_stages(name):
    model = models.create(name, num_classes=2, width=1 / 8, attention=Probe, placement="stage")
    seen = flat(shapes(model, 64, 64, 3)["params"])
    for stage, stride in enumerate(model.STRIDES, start=1):
        assert seen[f"stage{stage}_attention/seen"][0] == 64 // stride


@pytest.mark.parametrize("stem", ["imagenet", pytest.param("small", marks=pytest.mark.full)])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(33, 20, 1), (1, 1, 3), (8, 8, 9, 2)])
def test_any_size_channels_and_volumes(name, stem, shape):
    model = models.create(name, num_classes=3, stem=stem, width=1 / 16, dtype=jnp.bfloat16)

    def run(key):
        x = jnp.zeros((2, *shape))
        variables = model.init(key, x, train=False)
        logits, state = model.apply(variables, x, train=False, capture_intermediates=True, mutable=["intermediates"])
        return variables["params"], logits, state["intermediates"][model.feature_layer]["__call__"][0]

    params, logits, features = jax.eval_shape(run, jax.random.key(0))
    assert logits.shape == (2, 3) and features.ndim == len(shape) + 1 and min(features.shape) > 0
    assert {leaf.dtype for leaf in (logits, features)} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("name", "attention", "parameters"), [("resnext50", "sk", 27_479_784), ("resnet50d", "split", 27_483_240)]
)
def test_sknet_and_resnest(name, attention, parameters):
    """Counts of the authors' networks, which these two mechanisms come from."""
    model = models.create(name, num_classes=1000, attention=attention)
    assert cost.parameters(shapes(model, 64, 64, 3)) == parameters


def test_widths():
    groups = flat(shapes(models.create("resnext50", num_classes=3, width=1 / 8), 32, 32, 3)["params"])
    assert groups["stage1_block1/conv2/kernel"] == (3, 3, 1, 32)
    narrow = flat(shapes(models.create("vgg16_bn", num_classes=3, width=1 / 1000), 32, 32, 3)["params"])
    assert narrow["stem/conv/kernel"] == (3, 3, 3, 1) and narrow["fc2/kernel"] == (4, 4)
    dense = flat(shapes(models.create("densenet121", num_classes=3, width=1 / 64), 32, 32, 3)["params"])
    assert dense["stage1_layer1/conv2/kernel"] == (3, 3, 4, 1)


def test_vgg_drops_half_of_the_hidden_values_in_training():
    model = models.create("vgg16_bn", num_classes=3, width=1 / 16, stem="small")
    x = jnp.asarray(HASH["signed"]((2, 8, 8, 3), 1), jnp.float32)
    variables = jax.jit(lambda key: model.init(key, x, train=False))(jax.random.key(0))

    @jax.jit
    def run(key):
        def dropped(module, method):
            return (module.name or "").startswith("dropout")

        _, state = model.apply(
            variables, x, train=True, rngs={"dropout": key}, capture_intermediates=dropped, mutable=True
        )
        return [state["intermediates"][f"dropout{i}"]["__call__"][0] for i in (1, 2)]

    first, second = run(jax.random.key(1)), run(jax.random.key(2))
    for one, other in zip(first, second, strict=True):
        assert one.shape == (2, 256) and ((one != 0) != (other != 0)).any()
    assert 0.1 < (first[0] != 0).mean() < 0.5


def test_colours_are_summed_into_vggs_first_convolution(tmp_path):
    path = hashed("vgg16_bn_narrow", tmp_path)
    model = models.create("vgg16_bn", num_classes=1000, width=1 / 8)
    loaded = weights.load(path, shapes(model, 32, 32, 1), rename=model.torch_name)
    stored = safetensors.numpy.load_file(path)["features.0.weight"]
    np.testing.assert_allclose(loaded["params"]["stem"]["conv"]["kernel"][..., 0, :], stored.sum(1).transpose(1, 2, 0))
