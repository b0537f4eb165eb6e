"""Where a trained cell looks: class activation maps of its test images, and how much of them lies where."""

import inspect
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Int

from attn_jax.data.phantom import tag_mask
from attn_jax.data.prepare import Prepared
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.localise import energy_in_mask
from attn_jax.explain.methods import METHODS, saliency
from attn_jax.tasks import Classification

BATCH = 32


def explained(data: Prepared, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The class (or finding) that is explained of each of some images; the data alone decide, so all networks agree.

    The positive class of two, else the image's own class. Of several findings the one that most images of the data set
    have, among those that the image has, and 0 where it has none. Of a single finding always 1, which is what
    `explain.scores.class_score` calls its logit.
    """
    if data.kind == "single":
        return np.asarray(data.labels[rows]) if data.positive is None else np.full(len(rows), data.positive)
    if len(data.classes) == 1:
        return np.ones(len(rows), dtype=np.intp)
    has = data.labels == 1
    return np.where(has[rows], 1 + has.sum(axis=0), 0).argmax(axis=1)


def present(data: Prepared, rows: Int[np.ndarray, "n"], targets: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Which images have the class (or finding) that is explained of them."""
    labels = data.labels[rows]
    if data.kind == "single":
        return labels == targets
    finding = np.zeros(len(rows), dtype=np.intp) if len(data.classes) == 1 else targets
    return labels[np.arange(len(rows)), finding] == 1


def draw(
    model: nn.Module,
    task: Classification,
    variables: dict[str, Any],
    data: Prepared,
    rows: np.ndarray,
    targets: np.ndarray,
    layer: str | None,
    method: str = "grad_cam",
) -> np.ndarray:
    """Raw maps [len(rows), *map] of the given rows for a class each, at the method's own size.

    `layer` is that of class activation maps alone; what a method draws at random it draws from one fixed seed.
    """
    takes = inspect.signature(METHODS[method]).parameters
    options: dict[str, Any] = {"layer": layer} if "layer" in takes and method != "attention" else {}
    if "key" in takes:
        options["key"] = jax.random.key(0)
    net = {"params": variables["params"], "batch_stats": variables["batch_stats"]}
    maps, batch = [], min(BATCH, len(rows))
    for start in range(0, len(rows), batch):
        chosen = np.arange(start, min(start + batch, len(rows)))
        padded = np.resize(chosen, batch)  # one shape, one compile
        images = task.inputs(variables, jnp.asarray(data.images[rows[padded]]))
        drawn = saliency(model, net, images, jnp.asarray(targets[padded]), method, **options)
        maps.append(np.asarray(drawn)[: len(chosen)])
    return np.concatenate(maps).astype(np.float32)


def write(path: pathlib.Path, data: Prepared, rows: np.ndarray, targets: np.ndarray, maps: np.ndarray) -> None:
    """Stores maps with the images and classes they belong to, whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")
    np.savez(partial, image_id=data.image_ids[rows], target=targets, map=maps)
    os.replace(partial, path)


def places(data: Prepared, rows: np.ndarray, maps: np.ndarray) -> dict[str, dict[str, float | int]]:
    """Mean share of the maps' energy that lies in a place, beside the share an even map would have there.

    The places are `lesion` (images with an outline), `tag` (simulated images that carry the planted tag) and
    `tag_absent` (the same place on those that do not).
    """
    found = {}
    if data.masks is not None:
        found["lesion"] = _share(data, rows, maps, data.has_mask[rows], data.masks)
    if data.simulated and "tag" in data.columns and (data.columns["tag"] == "yes").any():
        tagged = (data.columns["tag"] == "yes").to_numpy()[rows]
        everywhere = np.broadcast_to(tag_mask(data.images.shape[1]), data.images.shape[:-1])
        found["tag"] = _share(data, rows, maps, tagged, everywhere)
        found["tag_absent"] = _share(data, rows, maps, ~tagged, everywhere)
    return {name: facts for name, facts in found.items() if facts["images"]}


def _share(
    data: Prepared, rows: np.ndarray, maps: np.ndarray, which: np.ndarray, masks: np.ndarray
) -> dict[str, float | int]:
    inside = masks[rows[which]] > 0
    if not len(inside):
        return {"images": 0}
    drawn = np.asarray(to_image(maps[which], data.images.shape[1:-1]))
    energy = energy_in_mask(drawn, inside)
    known = ~np.isnan(energy)
    if not known.any():
        return {"images": 0}
    return {"energy": float(energy[known].mean()), "area": float(inside[known].mean()), "images": int(known.sum())}
