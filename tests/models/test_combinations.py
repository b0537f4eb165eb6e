"""Every mechanism in a ResNet-18 runs, every network with a mechanism of each placement runs, and a set of combinations
in which each pair of choices (mechanism, network, placement, stages) that there can be occurs has a gradient."""

import itertools

import combinations as product
import flax
import jax
import numpy as np
import pytest

from attn_jax import models
from attn_jax.attention import MECHANISMS
from attn_jax.models.slot import PLACEMENTS

# The usual mechanism of each placement.
EXAMPLES = {"block": "cbam", "stage": "bam", "conv": "split"}


def covering():
    """Dealt out like cards: the first two choices need their whole product, which leaves room for the others."""
    for (i, mechanism), (j, network) in itertools.product(enumerate(MECHANISMS), enumerate(product.NETWORKS)):
        placements = product.FITTING[mechanism]
        turn, place = divmod(i + j, len(placements))
        yield mechanism, network, placements[place], list(product.STAGES)[turn % len(product.STAGES)]


def pairs(rows):
    return {(i, row[i], j, row[j]) for row in rows for i, j in itertools.combinations(range(4), 2)}


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


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_runs_in_a_resnet18(mechanism):
    run(models.create("resnet18", num_classes=3, width=1 / 8, stem="small", attention=mechanism))


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("network", product.NETWORKS)
def test_runs_in_each_placement(network, placement):
    run(product.small(network, attention=EXAMPLES[placement], placement=placement))


def test_every_pair_is_covered():
    assert pairs(covering()) == pairs(product.PRODUCT)


@pytest.mark.parametrize("row", list(covering()), ids="-".join)
def test_has_a_gradient(row):
    product.trace(row)
