"""Score-CAM, Ablation-CAM, occlusion and RISE against plain loops and, where it is known, against the truth."""

import functools
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import ndimage, special

from attn_jax.errors import UserError
from attn_jax.explain.ablation_cam import ablation_cam
from attn_jax.explain.occlusion import occlusion
from attn_jax.explain.rise import random_mask, rise
from attn_jax.explain.score_cam import score_cam


@functools.partial(jax.jit, static_argnums=0)
def logits_of(model, variables, images):
    return model.apply(variables, images, train=False)


def scores(case, images, targets) -> np.ndarray:
    logits = np.asarray(logits_of(case.model, case.variables, jnp.asarray(images, jnp.float32)))
    return logits[np.arange(len(targets)), targets]


def activations_of(case) -> np.ndarray:
    _, kept = case.model.apply(case.variables, case.images, train=False, capture_intermediates=True)
    return np.asarray(kept["intermediates"]["block1"]["__call__"][0])


def weighted(activations, weights) -> np.ndarray:
    return np.maximum(np.einsum("...f,f->...", activations, weights), 0)


@pytest.mark.parametrize(("dims", "at_once"), [(2, 12), (3, 1), (3, 999)])
def test_score_cam_is_a_loop_over_channels(toys, dims, at_once):
    case = toys[dims]
    maps = score_cam(*case, at_once=at_once)
    for image, target, features, found in zip(case.images, case.targets, activations_of(case), maps, strict=True):
        masked = []
        for channel in np.moveaxis(features, -1, 0):
            factors = np.array(image.shape[:-1]) / channel.shape
            mask = ndimage.zoom(channel.astype(np.float64), factors, order=1)
            mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
            masked.append(np.asarray(image) * mask[..., None])
        weights = special.softmax(scores(case, np.stack(masked), np.full(len(masked), target)))
        np.testing.assert_allclose(found, weighted(features, weights), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dims", "at_once"), [(2, 12), (3, 1), (3, 999)])
def test_ablation_cam_is_a_loop_over_channels(toys, dims, at_once):
    case = toys[dims]
    params = case.variables["params"]

    def head(features):
        window = nn.Conv(5, (3,) * dims, strides=2, padding=1)
        top = nn.relu(window.apply({"params": params["block2"]["conv"]}, features))
        pooled = np.asarray(top.mean(axis=tuple(range(1, dims + 1))))
        return pooled @ np.asarray(params["head"]["kernel"]) + np.asarray(params["head"]["bias"])

    activations = activations_of(case)
    maps = ablation_cam(*case, at_once=at_once)
    for target, features, found in zip(case.targets, activations, maps, strict=True):
        ablated = np.repeat(features[None], features.shape[-1], axis=0)
        for channel in range(features.shape[-1]):
            ablated[channel, ..., channel] = 0
        whole = head(features[None])[0, target]
        weights = (whole - head(ablated)[:, target]) / whole
        np.testing.assert_allclose(found, weighted(features, weights), rtol=1e-3, atol=1e-5)


RUNS = []


def counted(array):
    RUNS.append(len(array))
    return array


class Counted(nn.Module):
    """What is below the layer is counted when it runs."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = nn.Conv(5, (3, 3), name="below")(x)
        x = jax.pure_callback(counted, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")
        layer = nn.Conv(5, (3, 3), name="layer")(x)
        return nn.Dense(2, name="head")(nn.relu(layer).mean(axis=(1, 2)))


def test_what_is_below_the_ablated_layer_runs_once():
    images = jax.random.normal(jax.random.key(0), (2, 6, 5, 1))
    variables = Counted().init(jax.random.key(1), images, train=False)
    RUNS.clear()
    jax.block_until_ready(ablation_cam(Counted(), variables, images, np.array([0, 1]), "layer", at_once=2))
    assert RUNS == [2]


@pytest.mark.parametrize(("dims", "patch", "stride"), [(2, 5, 3), (2, 4, 4), (3, 5, 2)])
def test_occlusion_is_a_loop_over_places(toys, dims, patch, stride):
    case = toys[dims]
    size = case.images.shape[1:-1]
    total, covers = np.zeros((len(case.images), *size)), np.zeros(size)
    whole = scores(case, case.images, case.targets)
    for start in itertools.product(*(range(0, max(side - patch, 0) + stride, stride) for side in size)):
        window = tuple(slice(place, place + patch) for place in start)
        covered = np.array(case.images)
        covered[(slice(None), *window)] = 0.3
        drop = whole - scores(case, covered, case.targets)
        total[(slice(None), *window)] += drop.reshape(-1, *[1] * dims)
        covers[window] += 1
    maps = occlusion(*case, patch=patch, stride=stride, value=0.3, at_once=9)
    np.testing.assert_allclose(maps, total / covers, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stride", [0, 5])
def test_occlusion_refuses_to_leave_pixels_out(toys, stride):
    with pytest.raises(UserError, match=f"stride={stride} with patch=4 leaves pixels uncovered"):
        occlusion(*toys[2], patch=4, stride=stride)


def test_occlusion_refuses_to_cover_everything(toys):
    with pytest.raises(UserError, match="patch=12 covers the whole image of 12 x 10; choose a smaller one"):
        occlusion(*toys[2], patch=12)
    assert occlusion(*toys[2], patch=11, stride=11).shape == (3, 12, 10)


def test_rise_is_a_loop_over_its_masks(toys):
    case, key = toys[3], jax.random.key(3)
    maps = rise(*case, key=key, samples=7, cells=3, kept=0.4, at_once=12)
    masks, draw = [], jax.jit(random_mask, static_argnums=(1, 2))
    for index in range(7):
        mask = np.asarray(draw(jax.random.fold_in(key, index), case.images.shape[1:-1], 3, 0.4))
        assert mask.shape == case.images.shape[1:-1] and mask.min() >= 0 and mask.max() <= 1 and np.ptp(mask) > 0.1
        masks.append(mask)
    masked = np.array([scores(case, case.images * mask[..., None], case.targets) for mask in masks])
    known = np.einsum("mb,m...->b...", masked - masked.mean(axis=0), masks)
    np.testing.assert_allclose(maps, known / (7 * 0.4), rtol=1e-4, atol=1e-5)


class Sum(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return x.sum(axis=(1, 2, 3))[:, None]


def test_rise_is_unbiased_on_a_linear_network():
    """Its mean is the sum of a pixel's covariances with all masks, which OpenCV's masks give."""
    height, width, cells, kept = 8, 7, 3, 0.4
    cell = 3  # of either axis, rounded up
    moments, places = np.zeros((height * width, height * width)), list(itertools.product(range(cell), repeat=2))
    for top, left in places:
        of_grid = np.zeros((height, width, cells * cells))
        for index in range(cells * cells):
            grid = np.eye(cells * cells)[index].reshape(cells, cells)
            resized = cv2.resize(grid, ((cells + 1) * cell,) * 2, interpolation=cv2.INTER_LINEAR)
            of_grid[..., index] = resized[top : top + height, left : left + width]
        of_grid = of_grid.reshape(height * width, -1)
        moments += kept * (1 - kept) * of_grid @ of_grid.T / len(places)
    image = np.random.default_rng(0).normal(size=(1, height, width, 1)).astype(np.float32)
    known = (moments @ image.reshape(-1) / kept).reshape(height, width)
    options = {"samples": 4000, "cells": cells, "kept": kept, "at_once": 500}
    runs = [rise(Sum(), {}, image, np.array([1]), key=jax.random.key(i), **options)[0] for i in range(10)]
    mean, error = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs))
    assert error.max() < 0.01 * np.abs(known).max()
    assert (np.abs(mean - known) < 4 * error).all()
