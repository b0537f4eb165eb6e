"""Losses and predictions against their formulas in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax.data.augment import Augment
from attn_jax.tasks import Classification
from attn_jax.tasks.classification import as_float, class_weights

K = 3
LOGITS = np.random.default_rng(0).normal(size=(4, K)).astype(np.float32)


class Given(nn.Module):
    """Reads the logits off the first pixel's channels."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return x[:, 0, 0]


def summed(task: Classification, labels: np.ndarray, weight: np.ndarray | None = None, **batch) -> tuple[float, float]:
    constants = {
        "mean": jnp.zeros(K),
        "std": jnp.ones(K),
        "class_weight": jnp.asarray(np.ones(K) if weight is None else weight),
    }
    images = jnp.asarray(LOGITS)[:, None, None]
    keys = jax.random.split(jax.random.key(0), len(LOGITS))
    variables = {"params": {}, "constants": constants}
    total, (weights, _) = task.loss(Given(), variables, {"image": images, "label": jnp.asarray(labels), **batch}, keys)
    return float(total), float(weights)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


LABELS = np.array([0, 2, 1, 2])


def test_cross_entropy() -> None:
    total, weight = summed(Classification(K), LABELS)
    assert total == pytest.approx(-log_softmax(LOGITS)[np.arange(4), LABELS].sum(), rel=1e-5)
    assert weight == 4


def test_label_smoothing_and_class_weights() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    targets = 0.9 * np.eye(K)[LABELS] + 0.1 / K
    expected = -(targets * log_softmax(LOGITS)).sum(-1) @ weights[LABELS]
    total, weight = summed(Classification(K, label_smoothing=0.1), LABELS, weights)
    assert total == pytest.approx(expected, rel=1e-5)
    assert weight == weights[LABELS].sum()


def test_focal_loss() -> None:
    log_p = log_softmax(LOGITS)[np.arange(4), LABELS]
    total, _ = summed(Classification(K, focal_gamma=2.0), LABELS)
    assert total == pytest.approx(-((1 - np.exp(log_p)) ** 2 * log_p).sum(), rel=1e-5)


FINDINGS = np.array([[1, 0, np.nan], [0, 0, 1], [np.nan, np.nan, np.nan], [1, 1, 0]])


def test_unknown_findings_count_for_nothing() -> None:
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    terms = -np.where(FINDINGS == 1, np.log(p), np.log(1 - p))
    known = ~np.isnan(FINDINGS)
    total, weight = summed(Classification(K, "multilabel"), FINDINGS)
    assert total == pytest.approx(terms[known].sum(), rel=1e-5)
    assert weight == known.sum() == 8


def test_unknown_findings_have_no_gradient() -> None:
    task, constants = (
        Classification(K, "multilabel"),
        {"mean": jnp.zeros(K), "std": jnp.ones(K), "class_weight": jnp.ones(K)},
    )
    keys = jax.random.split(jax.random.key(0), 4)

    def loss(images: jax.Array) -> jax.Array:
        return task.loss(Given(), {"params": {}, "constants": constants}, {"image": images, "label": FINDINGS}, keys)[0]

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(LOGITS)[:, None, None]))[:, 0, 0]
    np.testing.assert_array_equal(gradient == 0, np.isnan(FINDINGS))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("kind", ["single", "multilabel"])
def test_gradients_are_finite_at_certainty(kind: str, gamma: float) -> None:
    task = Classification(K, kind, focal_gamma=gamma)
    constants = {"mean": jnp.zeros(K), "std": jnp.ones(K), "class_weight": jnp.ones(K)}
    labels = jnp.array([0]) if kind == "single" else jnp.array([[1.0, 0.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 1)

    def loss(images: jax.Array) -> jax.Array:
        return task.loss(Given(), {"params": {}, "constants": constants}, {"image": images, "label": labels}, keys)[0]

    sure = jnp.array([200.0, -200.0, -200.0])[None, None, None]
    assert np.isfinite(np.asarray(jax.grad(loss)(sure))).all()


def test_mixing_mixes_the_loss() -> None:
    """With equal partners a mixture of labels a and b costs lam CE(a) + (1 - lam) CE(b)."""
    task = Classification(K, augmentation=Augment(mixup=1.0))
    images = jnp.asarray(LOGITS)[:, None, None]
    partner = np.array([1, 1, 0, 0])
    total, weight = summed(task, LABELS, pair_image=images, pair_label=jnp.asarray(partner))
    log_p = log_softmax(LOGITS)
    own, other = -log_p[np.arange(4), LABELS], -log_p[np.arange(4), partner]
    assert np.minimum(own, other).sum() < total < np.maximum(own, other).sum()
    assert total != pytest.approx(own.sum(), abs=1e-3)
    assert weight == pytest.approx(4)


def test_predictions_and_metrics() -> None:
    constants = {"mean": jnp.zeros(K), "std": jnp.ones(K), "class_weight": jnp.ones(K)}
    variables = {"params": {}, "constants": constants}
    task = Classification(K)
    scores = task.predict(Given(), variables, {"image": jnp.asarray(LOGITS)[:, None, None]})
    np.testing.assert_allclose(scores, np.exp(log_softmax(LOGITS)), rtol=1e-5)
    sums = task.metrics(scores, {"label": jnp.asarray(LABELS), "weight": jnp.array([1.0, 1.0, 1.0, 0.0])})
    assert float(sums["loss_sum"]) == pytest.approx(-log_softmax(LOGITS)[np.arange(3), LABELS[:3]].sum(), rel=1e-5)
    assert float(sums["weight"]) == 3


def test_stored_pixels_become_unit_floats() -> None:
    np.testing.assert_allclose(as_float(np.array([0, 255], np.uint8), jnp.float32), [0, 1])
    np.testing.assert_allclose(as_float(np.array([0, 65535], np.uint16), jnp.float32), [0, 1])
    np.testing.assert_allclose(as_float(np.array([0.25], np.float32), jnp.float32), [0.25])


def test_class_weights() -> None:
    np.testing.assert_allclose(class_weights(np.array([0, 0, 0, 1]), 2), [4 / 6, 4 / 2])
    np.testing.assert_allclose(class_weights(FINDINGS, K), [1 / 2, 2 / 1, 1 / 1])
