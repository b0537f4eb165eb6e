"""Image classification: one label of several, yes or no, or several findings of which some may be unknown."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Integer, Num

from attn_jax.data.augment import Augment, augment

Batch = Mapping[str, Any]
Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Classification:
    """Cross-entropy over classes (`kind="single"`), or binary cross-entropy per finding (`kind="multilabel"`).

    Attributes:
        outputs: number of classes or findings, K.
        kind: `"single"` (labels are class indices) or `"multilabel"` (labels are 0, 1 or NaN for unknown).
        label_smoothing: share of the target spread over all classes (arXiv 1512.00567, section 7).
        focal_gamma: exponent of the focal loss (arXiv 1708.02002, eq. 4); 0 is plain cross-entropy.
        augmentation: what the images go through in a training step.

    `variables["constants"]` holds `mean` and `std` (per channel, of images in [0, 1]) and `class_weight` (per class;
    for findings the weight of a positive).
    """

    outputs: int
    kind: Literal["single", "multilabel"] = "single"
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    augmentation: Augment = Augment()

    def loss(
        self,
        model: nn.Module,
        variables: Variables,
        batch: Batch,
        keys: jax.Array,
        dropout_key: jax.Array | None = None,
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Mapping[str, Any]]]:
        """Loss summed over the batch in training mode.

        Args:
            model: gives logits [B, K].
            variables: `params`, `batch_stats` and `constants`.
            batch: `image` [B, *space, C] as stored, `label` [B] or [B, K], and `pair_image`, `pair_label` where mixing.
            keys: one random key an image.
            dropout_key: the network's rng `"dropout"`, for one that has random layers.

        Returns:
            The sum of the weighted losses, and (the sum of their weights, the updated `batch_stats`): the caller
            divides, after it has summed over devices.
        """
        dtype = variables["constants"]["mean"].dtype
        targets, known = self._targets(batch["label"], dtype)
        images = as_float(batch["image"], dtype)
        if "pair_image" in batch:
            pair_targets, pair_known = self._targets(batch["pair_label"], dtype)
            images, mixed = augment(
                self.augmentation, images, targets, keys, as_float(batch["pair_image"], dtype), pair_targets
            )
            # A finding unknown in either of two mixed images is unknown in the mixture.
            targets, known = mixed, known * pair_known
        else:
            images, targets = augment(self.augmentation, images, targets, keys)
        logits, updates = model.apply(
            _model_variables(variables),
            _normalise(images, variables),
            train=True,
            mutable=["batch_stats"],
            rngs=None if dropout_key is None else {"dropout": dropout_key},
        )
        total, weight = self._weighted_loss(
            logits.astype(dtype), targets, known, variables["constants"]["class_weight"]
        )
        return total, (weight, updates.get("batch_stats", {}))

    def predict(self, model: nn.Module, variables: Variables, batch: Batch) -> Float[Array, "B K"]:
        """Probabilities in evaluation mode: they sum to one over classes, or stand alone per finding."""
        dtype = variables["constants"]["mean"].dtype
        images = self.inputs(variables, batch["image"])
        logits = jnp.asarray(model.apply(_model_variables(variables), images, train=False), dtype)
        return jax.nn.softmax(logits) if self.kind == "single" else jax.nn.sigmoid(logits)

    def metrics(self, scores: Float[Array, "B K"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Sums of the log loss and of the weights over the images that count (`batch["weight"]` 1, not padding)."""
        targets, known = self._targets(batch["label"], scores.dtype)
        known = known * batch["weight"].astype(scores.dtype)[:, None]
        tiny = jnp.finfo(scores.dtype).tiny
        terms = targets * jnp.log(jnp.maximum(scores, tiny))
        if self.kind == "multilabel":
            terms = terms + (1 - targets) * jnp.log(jnp.maximum(1 - scores, tiny))
            return {"loss_sum": -(terms * known).sum(), "weight": known.sum()}
        return {"loss_sum": -(terms * known).sum(), "weight": known[:, 0].sum()}

    def inputs(self, variables: Variables, images: Num[Array, "B *space C"]) -> Float[Array, "B *space C"]:
        """What the network sees: stored images scaled to [0, 1], less the mean, over the standard deviation."""
        return _normalise(as_float(images, variables["constants"]["mean"].dtype), variables)

    def _targets(self, label: Num[Array, "B *K"], dtype: Any) -> tuple[Float[Array, "B K"], Float[Array, "B K"]]:
        """Targets in [0, 1], and 1 where they are known."""
        if self.kind == "single":
            one_hot = jax.nn.one_hot(label, self.outputs, dtype=dtype)
            return one_hot, jnp.ones_like(one_hot)
        known = ~jnp.isnan(label)
        return jnp.where(known, label, 0).astype(dtype), known.astype(dtype)

    def _weighted_loss(
        self,
        logits: Float[Array, "B K"],
        targets: Float[Array, "B K"],
        known: Float[Array, "B K"],
        class_weight: Float[Array, " K"],
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        if self.kind == "single":
            weight = targets @ class_weight
            smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / self.outputs
            log_p = jax.nn.log_softmax(logits)
            losses = -(smoothed * self._focus(log_p) * log_p).sum(-1)
            return (losses * weight).sum(), weight.sum()
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        weight = (targets * class_weight + (1 - targets)) * known
        log_p, log_q = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        losses = -(smoothed * self._focus(log_p) * log_p + (1 - smoothed) * self._focus(log_q) * log_q)
        return (losses * weight).sum(), weight.sum()

    def _focus(self, log_p: Float[Array, "B K"]) -> Float[Array, "B K"] | float:
        """(1 - p)^gamma; the power is left out where it is one."""
        tiny = jnp.finfo(log_p.dtype).tiny
        return jnp.maximum(-jnp.expm1(log_p), tiny) ** self.focal_gamma if self.focal_gamma else 1.0


def as_float(images: Num[Array, "B *space C"], dtype: Any) -> Float[Array, "B *space C"]:
    """Stored pixels (uint8, uint16, or floats in [0, 1] already) as floats in [0, 1]."""
    if jnp.issubdtype(images.dtype, jnp.integer):
        return images.astype(dtype) / jnp.iinfo(images.dtype).max
    return images.astype(dtype)


def class_weights(labels: Integer[Any, " N"] | Float[Any, "N K"], outputs: int) -> Float[Array, " K"]:
    """Weights inverse to the frequency in training: N / (K n_k) per class, negatives / positives per finding."""
    if labels.ndim == 1:
        counts = jnp.bincount(jnp.asarray(labels), length=outputs)
        return len(labels) / (outputs * jnp.maximum(counts, 1))
    positives = jnp.nansum(labels, axis=0)
    negatives = jnp.nansum(1 - labels, axis=0)
    return negatives / jnp.maximum(positives, 1)


def _normalise(images: Float[Array, "B *space C"], variables: Variables) -> Float[Array, "B *space C"]:
    constants = variables["constants"]
    return (images - constants["mean"]) / constants["std"]


def _model_variables(variables: Variables) -> dict[str, Any]:
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}
