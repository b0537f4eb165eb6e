"""The maps that mechanisms sow, by path and kind."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from attn_jax import models
from attn_jax.explain.attention_maps import attention_maps


class Gate(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        self.sow("attention", "spatial", x.mean(axis=-1))
        self.sow("attention", "channel", x.mean(axis=(1, 2)))
        return x


class Net(nn.Module):
    gated: bool = True

    @nn.compact
    def __call__(self, x, *, train: bool):
        for name in ("low", "high") if self.gated else ():
            x = Gate(name=name)(x + 1, train=train)
        gate = Gate(name="shared")
        return (gate(gate(x, train=train) * 2, train=train) if self.gated else x).mean(axis=(1, 2))


def test_maps_by_path_and_kind():
    images = jnp.arange(24.0).reshape(1, 3, 4, 2)
    maps = attention_maps(Net(), {}, images)
    assert set(maps) == {"low", "high", "shared"} and set(maps["low"]) == {"spatial", "channel"}
    np.testing.assert_allclose(maps["high"]["spatial"], images.mean(axis=-1) + 2)
    np.testing.assert_allclose(maps["shared"]["channel"], 2 * (images.mean(axis=(1, 2)) + 2))
    assert attention_maps(Net(gated=False), {}, images) == {}


def test_of_a_network_with_cbam():
    model = models.create("resnet18", num_classes=2, attention="cbam", stem="small", width=0.125, stages=(4,))
    images = jnp.ones((2, 16, 16, 3))
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    variables = {
        name: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes[name]) for name in ("params", "batch_stats")
    }
    maps = attention_maps(model, variables, images)
    assert set(maps) == {"stage4_block1/attention", "stage4_block2/attention"}
    assert all(set(kinds) == {"channel", "spatial"} for kinds in maps.values())
    assert maps["stage4_block2/attention"]["channel"].shape == (2, 64)
