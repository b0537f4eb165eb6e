"""Class activation maps against pytorch-grad-cam, and what they are on a linear head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax.explain import cam
from attn_jax.explain.methods import METHODS, saliency

BY_GRADIENT = ("grad_cam", "grad_cam_plus_plus", "hires_cam", "xgrad_cam", "layer_cam", "eigen_cam")
KNOWN = [(2, name) for name in (*BY_GRADIENT, "score_cam", "ablation_cam")] + [(3, name) for name in BY_GRADIENT]


@pytest.mark.parametrize(("dims", "method"), KNOWN)
def test_equals_pytorch_grad_cam(toys, cam_golden, dims, method):
    maps = saliency(*toys[dims], method)
    golden = cam_golden[f"{dims}d/{method}"]
    assert maps.shape == golden.shape and maps.dtype == jnp.float32
    # pytorch-grad-cam adds 1e-6 to twice the square of gradients that reach 0.1 here.
    tolerance = 4e-3 if method == "grad_cam_plus_plus" else 2e-6
    np.testing.assert_allclose(maps, golden, rtol=2e-5, atol=tolerance * golden.max())


@pytest.mark.parametrize("scale", [1, 1e-4, 1e-10])
def test_grad_cam_plus_plus_is_equation_19_however_small_the_gradients(scale):
    rng = np.random.default_rng(0)
    activations, gradients = rng.gamma(1, size=(2, 4, 3, 5)), rng.normal(size=(2, 4, 3, 5))
    gradients[0, 0] = 0
    second, third = gradients**2, gradients**3
    denominator = 2 * second + activations.sum(axis=(1, 2), keepdims=True) * third
    weights = np.zeros((2, 5))
    for place in np.argwhere(gradients > 0):
        image, *_, channel = place
        alpha = second[tuple(place)] / denominator[tuple(place)]
        weights[image, channel] += alpha * gradients[tuple(place)]
    known = np.einsum("bhwc,bc->bhw", activations, weights)
    # The sum of activations times the gradient, and so alpha, stays as it is.
    given = (jnp.asarray(activations / scale, jnp.float32), jnp.asarray(gradients * scale, jnp.float32))
    np.testing.assert_allclose(cam.grad_cam_plus_plus_map(*given), known, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_eigen_cam_is_that_of_pytorch_grad_cam_with_the_larger_sign(toys, cam_golden, dims):
    maps = np.asarray(saliency(*toys[dims], "eigen_cam"))
    either = cam_golden[f"{dims}d/eigen_cam_of_either_sign"]
    np.testing.assert_allclose(maps[maps > 0], either[maps > 0], rtol=1e-4, atol=1e-5)
    space = tuple(range(1, dims + 1))
    np.testing.assert_allclose(maps.max(space), either.max(space), rtol=1e-5)


@pytest.mark.parametrize("scale", [1, -1])
def test_eigen_cam_does_not_depend_on_the_sign_of_the_activations(scale):
    activations = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    plain = cam.eigen_cam_map(activations, activations)
    np.testing.assert_allclose(cam.eigen_cam_map(scale * activations + 7, activations), plain, rtol=1e-3, atol=1e-4)


class LinearHead(nn.Module):
    feature_layer = "top"

    @nn.compact
    def __call__(self, x, *, train: bool):
        features = nn.Conv(4, (3, 3), name="top")(x)
        return nn.Dense(3, name="head")(features.mean(axis=(1, 2)))


def test_on_a_linear_head_they_are_cam():
    """The sum of channels times the head's weights (arXiv 1512.04150), here over the number of pixels."""
    images = jax.random.normal(jax.random.key(0), (2, 6, 5, 1))
    model, targets = LinearHead(), np.array([2, 0])
    variables = model.init(jax.random.key(1), images, train=False)
    features = nn.Conv(4, (3, 3)).apply({"params": variables["params"]["top"]}, images)
    weights = variables["params"]["head"]["kernel"].T[targets] / 30
    known = np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)
    for method in ("grad_cam", "hires_cam", "xgrad_cam"):
        maps = saliency(model, variables, images, targets, method)
        np.testing.assert_allclose(maps, known, rtol=1e-3, atol=1e-4 * known.max())
    positive = np.maximum(np.einsum("bhwc,bc->bhw", features, np.maximum(weights, 0)), 0)
    np.testing.assert_allclose(saliency(model, variables, images, targets, "layer_cam"), positive, rtol=1e-4, atol=1e-6)


def test_channels_that_are_dead_or_without_gradient_stay_finite():
    rng = np.random.default_rng(0)
    activations = rng.uniform(size=(1, 3, 3, 4)).astype(np.float32)
    activations[..., 0] = 0
    gradients = rng.normal(size=activations.shape).astype(np.float32)
    gradients[..., 1] = 0
    for formula in map(functools.partial(getattr, cam), (f"{name}_map" for name in BY_GRADIENT)):
        for pair in ((activations, gradients), (0 * activations, gradients), (activations, 0 * gradients)):
            assert np.isfinite(formula(*map(jnp.asarray, pair))).all()


def test_every_class_activation_map_has_a_golden():
    assert {name for name in METHODS if "cam" in name} == {name for dims, name in KNOWN if dims == 2}
