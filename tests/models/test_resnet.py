"""ResNets against torchvision's: the goldens of tests/goldens/make_resnet.py."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from attn_jax import models
from attn_jax.models import ResNet, weights

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
GOLDEN = np.load(GOLDENS / "resnet.npz")
HASH = runpy.run_path(str(GOLDENS / "hash_weights.py"))


def hashed_file(which, folder, dtype=np.float32):
    """A safetensors file with torchvision's names and the golden's values."""
    arrays = {}
    for line in GOLDEN[f"{which}_tensors"]:
        name, _, shape = str(line).partition(":")
        arrays[name] = HASH["weight"](name, tuple(map(int, shape.split(",")))).astype(dtype)
    safetensors.numpy.save_file(arrays, folder / f"{which}.safetensors")
    return folder / f"{which}.safetensors"


def empty(model, size=32, channels=3):
    """Variables of the right shapes, all zero: no compile."""
    x = jnp.zeros((1, size, size, channels))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    return {
        name: jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes[name]) for name in ("params", "batch_stats")
    }


def images(*shape):
    """NCHW images from hashes, channels last."""
    return np.moveaxis(HASH["signed"](shape, 12345), 1, -1)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_logits_equal_torchvisions(name, tmp_path):
    model = models.create(name, num_classes=10)
    variables = weights.load(hashed_file(name, tmp_path), empty(model))
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images(2, 3, 64, 64).astype(np.float32))
    wanted = GOLDEN[name]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=max(1e-4, 2e-6 * np.abs(wanted).max()))


def test_a_training_step_equals_torchvisions(tmp_path):
    with jax.enable_x64(True):
        model = ResNet(num_classes=10, blocks=(1, 1, 1, 1), bottleneck=True, param_dtype=np.float64)
        variables = weights.load(hashed_file("train", tmp_path, np.float64), empty(model))
        x, direction = images(4, 3, 40, 36), HASH["signed"]((4, 10), 777)

        @jax.jit
        def run(params, x):
            def loss(params, x):
                logits, state = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
                return (logits * direction).sum(), (logits, state["batch_stats"])

            return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

        (gradients, dx), (logits, statistics) = run(variables["params"], x)

    def close(ours, kind):
        wanted = GOLDEN[f"train_{kind}"]
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max(), err_msg=kind)

    close(logits, "logits")
    close(np.moveaxis(dx, -1, 1)[0, :, ::8, ::8], "image_gradient")
    close(statistics["stem_norm"]["mean"], "bn1")
    for kind, module in (
        ("conv1.weight", gradients["stem_conv"]),
        ("layer2.0.conv2.weight", gradients["stage2_block1"]["conv2"]),
        ("layer4.0.conv2.weight", gradients["stage4_block1"]["conv2"]),
        ("layer4.0.downsample.0.weight", gradients["stage4_block1"]["shortcut_conv"]),
    ):
        close(np.moveaxis(module["kernel"], (-1, -2), (0, 1))[:4, :4], kind)


def test_starts_as_torchvision_does():
    model = ResNet(num_classes=100, blocks=(1, 1, 1, 1), bottleneck=False, stem="small")
    params = jax.jit(lambda key: model.init(key, jnp.zeros((1, 8, 8, 3)), train=False))(jax.random.key(0))["params"]
    kernel = params["stage4_block1"]["conv2"]["kernel"]
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (9 * 512)), rtol=0.01)
    assert np.abs(kernel).max() > 4 * np.std(kernel)
    for leaf in jax.tree.leaves(params["head"]):
        assert np.abs(leaf).max() <= 1 / np.sqrt(512) and np.std(leaf) > 0.4 / np.sqrt(512)
    assert (params["stage4_block1"]["norm2"]["scale"] == 1).all()


@pytest.mark.parametrize(
    ("stem", "shape", "last"),
    [("imagenet", (2, 64, 48, 1), (2, 2)), ("small", (1, 16, 17, 5), (2, 3)), ("small", (1, 8, 8, 8, 2), (1, 1, 1))],
)
def test_feature_layer_stems_channels_and_volumes(stem, shape, last):
    model = models.create("resnet18", num_classes=3, stem=stem, width=1 / 8)
    x = jnp.zeros(shape)

    def run(key):
        variables = model.init(key, x, train=False)
        return model.apply(variables, x, train=False, capture_intermediates=True, mutable=["intermediates"])

    logits, state = jax.eval_shape(run, jax.random.key(0))
    assert logits.shape == (shape[0], 3)
    assert model.feature_layer == "stage4_block2"
    assert state["intermediates"][model.feature_layer]["__call__"][0].shape == (shape[0], *last, 64)


def test_half_precision_computes_in_bfloat16_and_keeps_float32():
    model = models.create("resnet18", num_classes=3, stem="small", width=1 / 8, attention="cbam", dtype=jnp.bfloat16)
    x = jnp.zeros((2, 16, 16, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(jnp.float32)}
    _, state = jax.eval_shape(
        lambda v: model.apply(v, x, train=False, capture_intermediates=True, mutable=["intermediates"]), variables
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.bfloat16)}


def test_width_is_that_of_the_stem():
    variables = empty(models.create("resnet50", num_classes=3, width=0.5))
    assert variables["params"]["stem_conv"]["kernel"].shape == (7, 7, 3, 32)
    assert variables["params"]["head"]["kernel"].shape == (1024, 3)
