"""Modules that do not move cost no gradient, and the others move as if all did."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attn_jax import models
from attn_jax.tasks import Classification
from attn_jax.training import state as states
from attn_jax.training.step import make_train_step


def test_frozen_modules_get_no_gradient_and_the_others_their_own() -> None:
    model = models.create("resnet18", num_classes=3, width=1 / 8, stem="small").clone(blocks=(1, 1))
    task, optimizer = Classification(outputs=3), optax.sgd(0.1)
    constants = {"mean": jnp.full(1, 0.5), "std": jnp.full(1, 0.25), "class_weight": jnp.ones(3)}
    start = states.create(model, optimizer, (8, 8, 1), constants, seed=0)
    random = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(random.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)),
        "label": jnp.asarray([0, 1, 2, 0]),
        "index": jnp.arange(4),
    }

    def compiled(*frozen: str) -> jax.stages.Compiled:
        return jax.jit(make_train_step(model, task, optimizer, frozen=frozen)).lower(start, batch).compile()

    whole, part = compiled(), compiled("stem", "stage1")
    (all_moved, _), (some_moved, metrics) = whole(start, batch), part(start, batch)
    for module, own in start.params.items():
        held = module.startswith(("stem", "stage1"))
        wanted = own if held else all_moved.params[module]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), some_moved.params[module], wanted
        )
    changes = jax.tree.map(lambda a, b: (a - b) / 0.1, start.params, some_moved.params)
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(changes), rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, all_moved.batch_stats, some_moved.batch_stats)
    assert part.cost_analysis()["flops"] < 0.8 * whole.cost_analysis()["flops"]
