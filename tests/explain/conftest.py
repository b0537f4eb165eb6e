"""A toy network of two blocks in 2-D and 3-D, with the weights and images of tests/goldens/make_cam.py."""

import pathlib
import runpy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
HASH = runpy.run_path(str(GOLDENS / "hash_weights.py"))
RECIPE = runpy.run_path(str(GOLDENS / "make_cam.py"))


class Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        dims = x.ndim - 2
        return nn.relu(nn.Conv(self.features, (3,) * dims, strides=2, padding=1, name="conv")(x))


class Toy(nn.Module):
    feature_layer = "block1"

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = Block(5, name="block2")(Block(6, name="block1")(x))
        return nn.Dense(RECIPE["CLASSES"], name="head")(x.mean(axis=tuple(range(1, x.ndim - 1))))


class Case(NamedTuple):
    model: nn.Module
    variables: Any
    images: jax.Array
    targets: np.ndarray


def channels_last(name: str, shape: tuple[int, ...]) -> jax.Array:
    """A hashed weight of PyTorch's `name` and shape, as Flax has it."""
    array = HASH["weight"](name, shape)
    return jnp.asarray(np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array, jnp.float32)


def toy(dims: int) -> Case:
    window, size = (3,) * dims, RECIPE["SIZES"][dims]
    params = {}
    for block, features, before in (("block1", 6, 2), ("block2", 5, 6)):
        kernel = channels_last(f"{block}.0.weight", (features, before, *window))
        params[block] = {"conv": {"kernel": kernel, "bias": channels_last(f"{block}.0.bias", (features,))}}
    kernel = channels_last("head.weight", (RECIPE["CLASSES"], 5))
    params["head"] = {"kernel": kernel, "bias": channels_last("head.bias", (RECIPE["CLASSES"],))}
    images = HASH["signed"]((len(RECIPE["TARGETS"]), 2, *size), 12345)
    images = jnp.asarray(np.moveaxis(images, 1, -1), jnp.float32)
    return Case(Toy(), {"params": params}, images, np.array(RECIPE["TARGETS"]))


@pytest.fixture(scope="session")
def toys() -> dict[int, Case]:
    """The toy network in 2-D and 3-D."""
    return {dims: toy(dims) for dims in (2, 3)}


@pytest.fixture(scope="session")
def cam_golden() -> dict[str, np.ndarray]:
    """The arrays of cam.npz."""
    return dict(np.load(GOLDENS / "cam.npz"))


class Linear(nn.Module):
    """A logit for each class that is linear in the pixels, whatever their number."""

    classes: int = 3

    @nn.compact
    def __call__(self, x, *, train: bool):
        return nn.Dense(self.classes, use_bias=False, name="head")(x.reshape(len(x), -1))


@pytest.fixture(scope="session", params=[(5, 4), (3, 4, 2)], ids=["2d", "3d"])
def linear(request) -> Case:
    """A linear network on images of two channels."""
    images = jax.random.normal(jax.random.key(0), (2, *request.param, 2))
    kernel = jax.random.normal(jax.random.key(1), (images[0].size, 3))
    return Case(Linear(), {"params": {"head": {"kernel": kernel}}}, images, np.array([2, 0]))
