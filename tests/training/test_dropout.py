"""Random layers in the training step: the same masks however the batch is spread, others for each step and part."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from attn_jax.layers import Dropout, DropPath
from attn_jax.tasks import Classification
from attn_jax.training import state as states
from attn_jax.training.mesh import make_engine


class Random(nn.Module):
    """A linear classifier with both random layers."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        x = x + DropPath(0.5, self.axis_name)(2 * x, train=train)
        x = Dropout(0.5, self.axis_name)(x.reshape(x.shape[0], -1), train=train)
        return nn.Dense(3)(x)


def losses(parallel, devices, accumulate=1, batch=16, same=False):
    """Losses of three steps without learning, on other images each, or on one image all over."""
    task, optimizer = Classification(outputs=3), optax.sgd(0.0)
    options = {"parallel": parallel, "batch_size": batch, "devices": jax.devices()[:devices]}
    engine = make_engine(Random(), task, optimizer, accumulate=accumulate, **options)
    constants = {"mean": jnp.zeros(1), "std": jnp.ones(1), "class_weight": jnp.ones(3)}
    state = engine.put_state(states.create(Random(), optimizer, (4, 4, 1), constants, seed=0))
    images = np.random.default_rng(0).uniform(0, 1, (3, batch, 4, 4, 1)).astype(np.float32)
    images = np.broadcast_to(images[:1, :1], images.shape).copy() if same else images
    seen = []
    for step in range(3):
        places = np.arange(batch, dtype=np.int32)
        host = {"image": images[step], "label": np.zeros(batch, np.int32), "index": places}
        state, metrics = engine.train(state, engine.put_batch(host))
        seen.append(float(np.asarray(metrics["loss"])))
    return np.array(seen)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_devices_and_ways_draw_the_same(accumulate):
    expected = losses("jit", 1, accumulate)
    for parallel, devices in (("jit", 8), ("pmap", 1), ("pmap", 8)):
        np.testing.assert_allclose(losses(parallel, devices, accumulate), expected, rtol=1e-6)


def test_steps_and_parts_draw_anew():
    part = losses("jit", 1, batch=8, same=True)
    assert len(set(part)) == 3
    # Two parts that drew alike would lose together what the first loses alone.
    assert not np.isclose(losses("jit", 1, accumulate=2, same=True), part, rtol=1e-6).any()
