"""Every mechanism in a ResNet-18 has a gradient; with one block in each stage it is computed, and is finite, in the
mechanism's own parameters and through it.

Convolutions and pooling have their plain formulation, which compiles faster; tests/layers has the others.
"""

import combinations as product
import flax
import jax
import numpy as np
import pytest
from often import often

from attn_jax import models
from attn_jax.attention import MECHANISMS


def run(model):
    """Gradients at parameters drawn at random: as initialised, some would be zero."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        return rng.uniform(0.1, 0.5, leaf.shape).astype(leaf.dtype) * rng.choice([-1, 1], leaf.shape)

    variables = product.shapes(model)
    drawn = {"params": jax.tree.map(draw, variables["params"])}
    drawn["batch_stats"] = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables["batch_stats"])
    (params, images), _ = jax.jit(lambda v, x: product.gradients(model, v, x))(drawn, draw(product.IMAGES))
    leaves = {"/".join(path): leaf for path, leaf in flax.traverse_util.flatten_dict(params).items()}
    assert all(np.isfinite(leaf).all() for leaf in (*leaves.values(), images))
    assert np.abs(images).max() > 0
    own = [leaf for path, leaf in leaves.items() if "attention" in path]
    assert not own or max(np.abs(leaf).max() for leaf in own) > 0


@pytest.fixture(scope="module", autouse=True)
def quick():
    with product.quick_tracing():
        yield


@pytest.mark.parametrize("mechanism", often(MECHANISMS))
def test_in_a_resnet18(mechanism):
    whole = models.create("resnet18", num_classes=3, width=1 / 8, stem="small", attention=mechanism)
    variables = product.shapes(whole)
    (params, _), _ = jax.eval_shape(lambda v, x: product.gradients(whole, v, x), variables, product.IMAGES)
    assert params == variables["params"]
    run(product.small("resnet18", attention=mechanism))
