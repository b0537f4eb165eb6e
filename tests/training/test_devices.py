"""One, two and eight devices, `jit` and `pmap`: the same losses, statistics and parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attn_jax import models
from attn_jax.data.augment import Augment
from attn_jax.tasks import Classification
from attn_jax.training import state as states
from attn_jax.training.mesh import make_engine

BATCH, STEPS = 16, 20


@functools.cache
def losses(
    dtype: str, parallel: str, devices: int, accumulate: int = 1, batch: int = BATCH, rows: range = range(BATCH)
) -> tuple[np.ndarray, dict]:
    """Losses of 20 SGD steps on fixed images, or on some rows of each batch, and the batch statistics at the end."""
    model = models.create("resnet18", num_classes=3, width=1 / 8, stem="small", attention="cbam", param_dtype=dtype)
    model = model.clone(blocks=(1, 1))
    task = Classification(outputs=3, label_smoothing=0.1, augmentation=Augment(flip_lr=True, rotate=20.0, noise=0.1))
    optimizer = optax.sgd(0.02, momentum=0.9)
    engine = make_engine(
        model,
        task,
        optimizer,
        parallel=parallel,
        batch_size=min(batch, len(rows)),
        devices=jax.devices()[:devices],
        accumulate=accumulate,
    )
    constants = {"mean": jnp.full(1, 0.5, dtype), "std": jnp.full(1, 0.25, dtype), "class_weight": jnp.ones(3, dtype)}
    state = engine.put_state(states.create(model, optimizer, (8, 8, 1), constants, seed=0))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (STEPS, batch, 8, 8, 1), dtype=np.uint8)
    labels = random.integers(0, 3, (STEPS, batch), dtype=np.int32)
    seen = []
    for step in range(STEPS):
        host = {"image": images[step], "label": labels[step], "index": np.arange(batch, dtype=np.int32)}
        host = {name: value[rows.start : rows.stop] for name, value in host.items()}
        state, metrics = engine.train(state, engine.put_batch(host))
        seen.append(float(np.asarray(metrics["loss"])))
    return np.array(seen), jax.tree.map(np.asarray, state.batch_stats)


WAYS = [("jit", 2), ("jit", 8), ("pmap", 1), ("pmap", 2), ("pmap", 8)]


@pytest.mark.parametrize(
    ("parallel", "devices"), [way if 8 in way else pytest.param(*way, marks=pytest.mark.full) for way in WAYS]
)
def test_double_precision_is_equal_over_20_steps(parallel: str, devices: int) -> None:
    with jax.enable_x64(True):
        expected, statistics = losses("float64", "jit", 1)
        seen, seen_statistics = losses("float64", parallel, devices)
    np.testing.assert_allclose(seen, expected, rtol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), seen_statistics, statistics)


@pytest.mark.full
@pytest.mark.parametrize(("parallel", "devices"), WAYS)
def test_single_precision_stays_close(parallel: str, devices: int) -> None:
    expected, _ = losses("float32", "jit", 1)
    seen, _ = losses("float32", parallel, devices)
    np.testing.assert_allclose(seen[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(seen[-1], expected[-1], rtol=1e-3)


def test_statistics_of_a_part_would_be_seen() -> None:
    """The comparisons above can fail: the same images, augmented alike, lose otherwise where each half has its own."""
    expected, _ = losses("float32", "jit", 1)
    halves = [losses("float32", "jit", 1, rows=rows)[0][0] for rows in (range(8), range(8, 16))]
    assert abs(np.mean(halves) - expected[0]) > 1e-3 * expected[0]
    assert len(set(expected)) == STEPS


@pytest.mark.parametrize("parallel", [pytest.param("jit", marks=pytest.mark.full), "pmap"])
def test_accumulated_parts_are_spread_over_the_devices_alike(parallel: str) -> None:
    with jax.enable_x64(True):
        one, _ = losses("float64", "jit", 1, accumulate=2)
        several, _ = losses("float64", parallel, 8, accumulate=2)
    np.testing.assert_allclose(several, one, rtol=1e-10)


@pytest.mark.parametrize("parallel", [pytest.param("jit", marks=pytest.mark.full), "pmap"])
def test_a_batch_that_eight_devices_cannot_share_gives_the_same_losses(parallel: str) -> None:
    with jax.enable_x64(True):
        one, _ = losses("float64", "jit", 1, batch=12)
        several, _ = losses("float64", parallel, 8, batch=12)
    np.testing.assert_allclose(several, one, rtol=1e-10)
