"""Gradients of the input where they are known: linear and quadratic networks, completeness, a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from attn_jax.explain.input_gradients import input_gradient, integrated_gradients, smooth_grad


def weights(linear) -> np.ndarray:
    kernel = np.asarray(linear.variables["params"]["head"]["kernel"])
    return kernel.T[linear.targets].reshape(linear.images.shape)


def test_the_gradient_of_a_linear_network_is_its_weight(linear):
    known = np.abs(weights(linear)).max(axis=-1)
    np.testing.assert_allclose(input_gradient(*linear), known, rtol=1e-5)
    np.testing.assert_allclose(smooth_grad(*linear, key=jax.random.key(0), samples=5), known, rtol=1e-5)


def test_integrated_gradients_of_a_linear_network_are_weight_times_input(linear):
    known = (weights(linear) * (np.asarray(linear.images) - 0.5)).sum(axis=-1)
    maps = integrated_gradients(*linear, baseline=0.5, steps=3)
    np.testing.assert_allclose(maps, known, rtol=1e-4, atol=1e-5)


class Squares(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return (x**2).sum(axis=(1, 2, 3))[:, None]


def test_integrated_gradients_of_squares_are_differences_of_squares():
    images = jax.random.normal(jax.random.key(0), (2, 4, 3, 2))
    maps = integrated_gradients(Squares(), {}, images, np.array([1, 0]), baseline=0.3, steps=7, at_once=4)
    known = (np.asarray(images) ** 2 - 0.3**2).sum(axis=-1) * np.array([1, -1])[:, None, None]
    np.testing.assert_allclose(maps, known, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_complete(toys):
    for case in toys.values():
        maps = np.asarray(integrated_gradients(*case, steps=200, at_once=150))
        ends = [case.model.apply(case.variables, images, train=False) for images in (case.images, 0 * case.images)]
        gained = np.asarray(ends[0] - ends[1])[np.arange(len(maps)), case.targets]
        np.testing.assert_allclose(maps.reshape(len(maps), -1).sum(1), gained, atol=0.01 * np.abs(gained).max())


def test_smooth_grad_is_a_loop_over_noisy_images(toys):
    case, key = toys[2], jax.random.key(7)
    images = np.asarray(case.images)
    spread = 0.2 * np.ptp(images.reshape(len(images), -1), axis=1).reshape(-1, 1, 1, 1)

    @jax.jit
    def gradient(x):
        rows = jnp.arange(len(x))
        return jax.grad(lambda x: case.model.apply(case.variables, x, train=False)[rows, case.targets].sum())(x)

    noise = [np.asarray(jax.random.normal(jax.random.fold_in(key, i), images.shape[1:])) for i in range(5)]
    known = np.abs(np.mean([gradient(images + spread * one) for one in noise], axis=0)).max(axis=-1)
    maps = smooth_grad(*case, key=key, samples=5, noise=0.2, at_once=7)
    np.testing.assert_allclose(maps, known, rtol=1e-4, atol=1e-7)
