"""The saliency scores of a trained network: where its maps lie, whether it needs what they show, what weights change.

Maps are stretched to [0, 1] and resized linearly to the image, as the page draws them.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from attn_jax.data.prepare import Prepared
from attn_jax.explain import scorecard
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.layers import outputs
from attn_jax.explain.randomise import cascade
from attn_jax.explain.scores import class_score
from attn_jax.explain.similarity import spearman, ssim
from attn_jax.explain.trust import Similarity, randomisation
from attn_jax.study import maps
from attn_jax.tasks import Classification

COLUMNS = ["image_id", "group", "method", "metric", "value"]
SIMILARITIES: Mapping[str, Similarity] = {"ssim": ssim, "spearman": spearman}
REPAIRED = "/repaired"

Places = Int[np.ndarray, "n"]
Scores = Mapping[str, Float[np.ndarray, "n"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """A trained network, the images (`rows` of `data`) it is asked about, and the class to explain of each.

    `drawn` holds the raw maps of these images by the methods that need not be drawn again; `layer` is that of class
    activation maps, None the network's own.
    """

    model: nn.Module
    task: Classification
    variables: Mapping[str, Any]
    data: Prepared
    rows: Int[np.ndarray, "B"]
    targets: Int[np.ndarray, "B"]
    layer: str | None = None
    drawn: Mapping[str, Float[np.ndarray, "B *map"]] = dataclasses.field(default_factory=dict)

    @property
    def masked(self) -> Bool[np.ndarray, "B"]:
        """Which images have a mask."""
        return self.data.has_mask[self.rows] if self.data.masks is not None else np.zeros(len(self.rows), bool)

    def maps(self, method: str, places: Places) -> Float[np.ndarray, "n *map"]:
        """A method's raw maps of some of the images."""
        if method in self.drawn:
            return self.drawn[method][places]
        return self.maps_with(self.variables, method, places)

    def maps_with(self, variables: Mapping[str, Any], method: str, places: Places) -> Float[np.ndarray, "n *map"]:
        """The same of the network with other variables."""
        rows, targets = self.rows[places], self.targets[places]
        return maps.draw(self.model, self.task, dict(variables), self.data, rows, targets, self.layer, method)

    def at_size(self, raw: Float[np.ndarray, "n *map"]) -> Float[np.ndarray, "n *space"]:
        """Raw maps as they lie over the images."""
        return np.asarray(to_image(raw, self.data.images.shape[1:-1]))


def scores(asked: Asked, methods: Sequence[str], count: int) -> pd.DataFrame:
    """A row an image, method and metric, in the `COLUMNS`; NaN where a map has no score.

    Methods and `scorecard.BASELINES` are placed on all images with a mask. `count` of the images (see `chosen`) are
    changed for the scores that need the network and, of the methods, drawn anew while the weights are randomised from
    the top down: `randomised_ssim/<layer>` is how alike the maps are before and after all layers down to this one were,
    and `randomised_ssim/repaired` how alike maps of different images are anyway; `_spearman` in the same way.
    """
    few = chosen(asked.data.image_ids[asked.rows], count)
    found = [_frame(asked, *scored) for scored in _placed(asked, methods, np.flatnonzero(asked.masked))]
    if len(few):
        found += [_frame(asked, *scored) for scored in _needed(asked, methods, few)]
        found += [_frame(asked, few, method, _randomised(asked, method, few)) for method in methods]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)


def chosen(image_ids: Sequence[str], count: int) -> Places:
    """The places of `count` images, the same ones whatever their order and whichever others there are."""
    order = sorted(range(len(image_ids)), key=lambda i: hashlib.sha256(str(image_ids[i]).encode()).digest())
    return np.sort(np.array(order[:count], dtype=np.intp))


def _frame(asked: Asked, places: Places, method: str, found: Scores) -> pd.DataFrame:
    rows = asked.rows[places]
    image_ids = asked.data.image_ids[rows].astype(str)
    groups = image_ids if asked.data.groups is None else asked.data.groups[rows].astype(str)
    named = {"image_id": image_ids, "group": groups, "method": method}
    return pd.concat([pd.DataFrame(named | {"metric": name, "value": of}) for name, of in found.items()])[COLUMNS]


def _placed(asked: Asked, methods: Sequence[str], places: Places) -> Iterator[tuple[Places, str, Scores]]:
    """Localisation, a batch at a time: at the image's size the maps of all images may not fit the memory."""
    assert asked.data.masks is not None or not len(places)
    for start in range(0, len(places), maps.BATCH):
        part = places[start : start + maps.BATCH]
        rows = asked.rows[part]
        masks = asked.data.masks[rows] > 0  # type: ignore[index]  # a place has a mask
        for method in methods:
            drawn = asked.at_size(scorecard.in_favour(asked.maps(method, part), method))
            yield part, method, scorecard.localisation(drawn, masks)
        for name, drawn in scorecard.beside(asked.data.images[rows], masks, seed=start).items():
            yield part, name, scorecard.localisation(drawn, masks)


def _needed(asked: Asked, methods: Sequence[str], places: Places) -> Iterator[tuple[Places, str, Scores]]:
    """Faithfulness, one class after the other: `predict` tells the probability of one."""
    rows = asked.rows[places]
    images = np.asarray(asked.task.inputs(asked.variables, jnp.asarray(asked.data.images[rows])))
    masks = None if not asked.masked[places].any() or asked.data.masks is None else asked.data.masks[rows]
    sources = {method: asked.at_size(asked.maps(method, places)) for method in methods}
    sources |= scorecard.beside(asked.data.images[rows], masks)
    for name, drawn in sources.items():
        for target in np.unique(asked.targets[places]):
            of = asked.targets[places] == target
            predict = functools.partial(_predict, asked, int(target))
            yield places[of], name, scorecard.faithfulness(predict, images[of], drawn[of], batch=maps.BATCH)


def _predict(asked: Asked, target: int, images: Float[np.ndarray, "M *space C"]) -> Float[np.ndarray, "M"]:
    net = {name: asked.variables[name] for name in ("params", "batch_stats")}
    padded = images[np.resize(np.arange(len(images)), maps.BATCH)]  # one shape, one compile
    return np.asarray(_probability(asked.model, asked.task.kind, net, padded, jnp.asarray(target)))[: len(images)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _probability(
    model: nn.Module, kind: str, variables: Any, images: Float[Array, "M *space C"], target: Int[Array, ""]
) -> Float[Array, "M"]:
    logits = jnp.asarray(model.apply(variables, images, train=False), jnp.float32)
    if kind == "single":
        return jax.nn.softmax(logits)[:, target]
    return jax.nn.sigmoid(class_score(logits, jnp.full(len(logits), target)))


def _randomised(asked: Asked, method: str, places: Places) -> Scores:
    params = asked.variables["params"]
    example = asked.task.inputs(asked.variables, jnp.asarray(asked.data.images[asked.rows[places[:1]]]))
    net = {name: asked.variables[name] for name in ("params", "batch_stats")}
    layers = [path for path in outputs(asked.model, net, example) if path in params]
    before = asked.at_size(asked.maps(method, places))
    found = {}
    for layer, without in cascade(params, layers, np.random.default_rng(0)):
        after = asked.at_size(asked.maps_with({**asked.variables, "params": without}, method, places))
        for name, similarity in SIMILARITIES.items():
            alike = randomisation(before, after, similarity)
            found[f"randomised_{name}/{layer}"] = alike.same
            found[f"randomised_{name}{REPAIRED}"] = alike.repaired
    return found
