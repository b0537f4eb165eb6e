"""Grad-CAM against pytorch-grad-cam, its formula, and the promises about cost."""

import pathlib
import runpy

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import save_file

from attn_jax import models
from attn_jax.errors import UserError
from attn_jax.explain.cam import _cam
from attn_jax.explain.grad_cam import grad_cam, to_image
from attn_jax.models import weights

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"


class Net(nn.Module):
    """Two convolutions, a mean, a linear head: small enough for its Grad-CAM to be written down."""

    classes: int = 3
    dims: int = 2
    dtype: jnp.dtype | None = None

    feature_layer = "top"

    @nn.compact
    def __call__(self, x, *, train: bool):
        window = (3,) * self.dims
        x = nn.relu(nn.Conv(4, window, name="bottom", dtype=self.dtype)(x))
        x = nn.Conv(5, window, name="top", dtype=self.dtype)(x)
        return nn.Dense(self.classes, name="head", dtype=self.dtype)(
            nn.relu(x).mean(axis=tuple(range(1, self.dims + 1)))
        )


def initial(model, images, seed=0):
    return jax.jit(lambda key, x: model.init(key, x, train=False))(jax.random.key(seed), images)


def made(model, size=7, seed=0):
    images = jax.random.normal(jax.random.key(seed), (2, *(size,) * model.dims, 2))
    return initial(model, images, seed + 1), images


def convolution(x, params) -> np.ndarray:
    """Of stride 1 with zeros around, in plain NumPy."""
    kernel = np.asarray(params["kernel"], dtype=np.float64)
    dims = kernel.ndim - 2
    x = np.pad(np.asarray(x), [(0, 0), *[(1, 1)] * dims, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:dims], axis=tuple(range(1, dims + 1)))
    windows = windows.reshape(*windows.shape[: dims + 2], -1)
    kernel = kernel.reshape(-1, *kernel.shape[dims:])
    return np.einsum("b...cw,wcf->b...f", windows, kernel) + np.asarray(params["bias"])


def by_formula(model, variables, images, signs) -> np.ndarray:
    """A logit's gradient at a pixel of `top` is its head weight, where the ReLU is open, over the number of pixels."""
    bottom = convolution(images, variables["params"]["bottom"])
    top = convolution(np.maximum(bottom, 0), variables["params"]["top"])
    kernel = np.asarray(variables["params"]["head"]["kernel"])
    space = tuple(range(1, top.ndim - 1))
    pixels = np.prod(top.shape[1:-1])
    mean_gradient = (top > 0).mean(axis=space) * (kernel @ signs.T).T / pixels
    return np.maximum(np.einsum("b...c,bc->b...", top, mean_gradient), 0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("targets", [(0, 2), (1, 1)])
def test_equals_the_formula_in_2d_and_3d(dims, targets):
    model = Net(dims=dims)
    variables, images = made(model)
    maps = grad_cam(model, variables, images, jnp.array(targets))
    assert maps.shape == images.shape[:-1] and maps.dtype == jnp.float32
    np.testing.assert_allclose(
        maps, by_formula(model, variables, images, np.eye(3)[list(targets)]), rtol=1e-4, atol=1e-7
    )


def test_one_logit_speaks_for_1_and_its_negative_for_0():
    model = Net(classes=1)
    variables, images = made(model)
    maps = grad_cam(model, variables, images, np.array([1, 0]))
    np.testing.assert_allclose(maps, by_formula(model, variables, images, np.array([[1], [-1]])), rtol=1e-4, atol=1e-7)


def test_bfloat16_networks_have_float32_maps():
    variables, images = made(Net())
    exact = grad_cam(Net(), variables, images, np.array([0, 1]))
    maps = grad_cam(Net(dtype=jnp.bfloat16), variables, images, np.array([0, 1]))
    assert maps.dtype == jnp.float32
    np.testing.assert_allclose(maps, exact, atol=0.05 * float(exact.max()))


def test_one_program_for_all_seeds_and_calls():
    model = Net(classes=4)
    before = _cam._cache_size()
    for seed in range(3):
        variables, images = made(model, seed=seed)
        grad_cam(Net(classes=4), variables, images, np.array([seed, 0]))
    assert _cam._cache_size() == before + 1
    attended = [
        models.create("resnet18", num_classes=2, attention="cbam", attention_options={"reduction": 8}) for _ in "ab"
    ]
    assert attended[0] == attended[1] and hash(attended[0]) == hash(attended[1])


@jax.custom_vjp
def no_way_back(x):
    return x


def _fail(residual, gradient):
    raise AssertionError("differentiated below the layer")


no_way_back.defvjp(lambda x: (x, None), _fail)


class OneWay(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        x = no_way_back(nn.Conv(3, (3, 3), name="below")(x))
        return nn.Dense(2)(nn.Conv(3, (3, 3), name="above")(x).mean(axis=(1, 2)))


def test_nothing_below_the_layer_is_differentiated():
    images = jnp.ones((1, 4, 4, 1))
    variables = initial(OneWay(), images)
    assert grad_cam(OneWay(), variables, images, np.array([1]), "above").shape == (1, 4, 4)
    with pytest.raises(AssertionError, match="below the layer"):
        grad_cam(OneWay(), variables, images, np.array([1]), "below")


def test_unknown_and_flat_layers_are_named():
    variables, images = made(Net())
    with pytest.raises(
        UserError, match=r"layer 'tpo' is not in the network\. Did you mean 'top'\? Known: bottom, top\."
    ):
        grad_cam(Net(), variables, images, np.array([0, 0]), "tpo")
    with pytest.raises(UserError, match=r"layer 'head' puts out \(2, 3\), not a map"):
        grad_cam(Net(), variables, images, np.array([0, 0]), "head")
    with pytest.raises(UserError, match="OneWay names no layer"):
        grad_cam(OneWay(), {}, images, np.array([0, 0]))


def test_equals_pytorch_grad_cam_on_resnet18(tmp_path):
    recipe, hashes = (runpy.run_path(str(GOLDENS / name)) for name in ("make_cam.py", "hash_weights.py"))
    golden = np.load(GOLDENS / "cam.npz")
    shapes = dict(line.split(":") for line in golden["resnet18/tensors"].tolist())
    state = {name: hashes["weight"](name, tuple(map(int, shape.split(",")))) for name, shape in shapes.items()}
    save_file({name: array.astype(np.float32) for name, array in state.items()}, tmp_path / "resnet18.safetensors")
    model = models.create("resnet18", num_classes=recipe["RESNET_CLASSES"])
    targets, size = recipe["RESNET_TARGETS"], recipe["RESNET_SIZE"]
    images = jnp.asarray(hashes["signed"]((len(targets), 3, size, size), 12345).transpose(0, 2, 3, 1), jnp.float32)
    abstract = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract)
    variables = weights.load(tmp_path / "resnet18.safetensors", zeros)
    for layer in recipe["RESNET_LAYERS"]:
        known = golden[f"resnet18/{layer}"]
        maps = np.asarray(grad_cam(model, variables, images, np.array(targets), layer))
        np.testing.assert_allclose(maps, known, rtol=1e-4, atol=1e-4 * known.max())
    np.testing.assert_array_equal(maps > 0, known > 0)


@pytest.mark.parametrize("size", [(28, 28), (20, 33)])
def test_to_image_is_what_opencv_draws(size):
    maps = np.random.default_rng(0).gamma(1, 5, size=(3, 4, 6)).astype(np.float32)
    drawn = np.asarray(to_image(maps, size))
    for one, raw in zip(drawn, maps, strict=True):
        stretched = (raw - raw.min()) / (raw.max() - raw.min())
        np.testing.assert_allclose(one, cv2.resize(stretched, size[::-1], interpolation=cv2.INTER_LINEAR), atol=1e-5)
    assert drawn.min() >= 0 and drawn.max() <= 1


def test_to_image_of_constant_tiny_and_3d_maps():
    flat = np.stack([np.zeros((2, 2)), np.full((2, 2), 3.0), [[0, 1e-30], [0, 0]]])
    drawn = np.asarray(to_image(flat, (2, 2)))
    np.testing.assert_array_equal(drawn, [np.zeros((2, 2)), np.zeros((2, 2)), [[0, 1], [0, 0]]])
    assert to_image(np.ones((1, 2, 2, 2)), (4, 4, 6)).shape == (1, 4, 4, 6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(3, 2), (6, 5)])
def test_to_image_of_a_map_that_is_not_finite_is_nan_and_others_do_not_mind(wrong, size):
    maps = np.random.default_rng(0).random((3, 3, 2))
    broken = maps.copy()
    broken[1, 2, 0] = wrong
    drawn = np.asarray(to_image(broken, size))
    assert np.isnan(drawn[1]).all()
    np.testing.assert_array_equal(drawn[[0, 2]], to_image(maps, size)[np.array([0, 2])])
