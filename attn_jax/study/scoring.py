"""The saliency scores of a trained network: where its maps lie, whether it needs what they show, what weights change.

Maps are stretched to [0, 1] and resized linearly to the image, as the page draws them.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from attn_jax.data.prepare import Prepared
from attn_jax.errors import UserError
from attn_jax.explain import scorecard
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.layers import outputs
from attn_jax.explain.randomise import cascade, forget_statistics
from attn_jax.explain.scores import class_score
from attn_jax.study import maps
from attn_jax.study.alike import SIMILARITIES, Ready, alike, circle, ready
from attn_jax.tasks import Classification

COLUMNS = ["image_id", "group", "method", "metric", "value"]
REPAIRED = "/repaired"
# A network's own probabilities say little beside another's: what counts is the gain over a random order of the pixels.
GAINS: Mapping[str, int] = {"insertion": 1, "deletion": -1}

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

    @property
    def size(self) -> tuple[int, ...]:
        """The images' size."""
        return self.data.images.shape[1:-1]

    def chosen(self, count: int) -> Places:
        """The places of `count` of the images that have the class that is explained of them (see `chosen`)."""
        has = np.flatnonzero(maps.present(self.data, self.rows, self.targets))
        return has[chosen(self.data.image_ids[self.rows[has]], count)]

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
        return np.asarray(to_image(raw, self.size))


class Scored(NamedTuple):
    """What `scores` finds.

    `table` has a row an image, method and metric, in the `COLUMNS`; NaN where a map has no score. `looks` holds each
    method's raw maps of the `few` images that were changed, and `missing` the methods that this network has no map of,
    with the reason.
    """

    table: pd.DataFrame
    few: Places
    looks: dict[str, Float[np.ndarray, "few *map"]]
    missing: dict[str, str]


def scores(asked: Asked, methods: Sequence[str], count: int) -> Scored:
    """The scores of a network's maps by some methods, and of `scorecard.BASELINES`.

    All images with a mask are scored by `scorecard.localisation`. `count` of those that have the class that is
    explained of them (see `chosen`) are changed for the scores that need the network: `insertion`, `deletion` and
    `road`, and `insertion_gain` and `deletion_gain`, by how much they are better than in the random order of
    `BASELINES["random"]` with the same network.

    Of the methods' maps of all these images there is `constant`, whether a map is the same everywhere, and of the few
    `randomised_ssim/<layer>`, how alike the maps are before and after all layers from the top down to this one were
    randomised, and `randomised_ssim/repaired`, how alike maps of different images are anyway; `_spearman` in the same
    way. Every map is drawn once.
    """
    few = asked.chosen(count)
    frames, looks, missing = [], dict[str, np.ndarray](), dict[str, str]()
    for method in methods:
        try:
            found, looks[method] = _looked(asked, method, few)
        except UserError as error:
            missing[method] = str(error)
            continue
        frames += found
    frames += [_frame(asked, *scored) for scored in _beside(asked)]
    if len(few):
        frames += [_frame(asked, *scored) for scored in _needed(asked, looks, few)]
        frames += [_frame(asked, few, method, _randomised(asked, method, few, raw)) for method, raw in looks.items()]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
    return Scored(table, few, looks, missing)


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


def _batches(places: Places) -> Iterator[Places]:
    """At the image's size the maps of all images may not fit the memory."""
    yield from (places[start : start + maps.BATCH] for start in range(0, len(places), maps.BATCH))


def _masks(asked: Asked, places: Places) -> Bool[np.ndarray, "n *space"]:
    assert asked.data.masks is not None
    return asked.data.masks[asked.rows[places]] > 0


def _looked(asked: Asked, method: str, few: Places) -> tuple[list[pd.DataFrame], Float[np.ndarray, "few *map"]]:
    """A method's maps where they are needed: whether they are constant, how they lie, and those of the few, raw."""
    frames, kept = [], []
    for part in _batches(np.union1d(np.flatnonzero(asked.masked), few)):
        raw = asked.maps(method, part)
        shown, masked = scorecard.in_favour(raw, method), asked.masked[part]
        flat = shown.reshape(len(shown), -1)
        frames.append(_frame(asked, part, method, {"constant": (flat == flat[:, :1]).all(axis=1).astype(np.float64)}))
        if masked.any():
            placed = scorecard.localisation(asked.at_size(shown[masked]), _masks(asked, part[masked]))
            frames.append(_frame(asked, part[masked], method, placed))
        kept.append(raw[np.isin(part, few)])
    return frames, np.concatenate(kept) if kept else np.zeros((0, *asked.size))


def _beside(asked: Asked) -> Iterator[tuple[Places, str, Scores]]:
    """How the maps lie that stand beside those of the methods."""
    for number, part in enumerate(_batches(np.flatnonzero(asked.masked))):
        masks = _masks(asked, part)
        for name, drawn in scorecard.beside(asked.data.images[asked.rows[part]], masks, seed=number).items():
            yield part, name, scorecard.localisation(drawn, masks)


def _needed(
    asked: Asked, looks: Mapping[str, Float[np.ndarray, "few *map"]], few: Places
) -> Iterator[tuple[Places, str, Scores]]:
    """Faithfulness, one class after the other: `predict` tells the probability of one."""
    rows = asked.rows[few]
    images = np.asarray(asked.task.inputs(asked.variables, jnp.asarray(asked.data.images[rows])))
    masks = _masks(asked, few) if asked.masked[few].any() else None
    beside = scorecard.beside(asked.data.images[rows], masks)
    sources = {"random": beside.pop("random"), **beside} | {name: asked.at_size(raw) for name, raw in looks.items()}
    for target in np.unique(asked.targets[few]):
        of = asked.targets[few] == target
        predict = functools.partial(_predict, asked, int(target))
        random: dict[str, np.ndarray] = {}
        for name, drawn in sources.items():
            found = scorecard.faithfulness(predict, images[of], drawn[of], batch=maps.BATCH)
            random = random or found
            gains = {f"{metric}_gain": sign * (found[metric] - random[metric]) for metric, sign in GAINS.items()}
            has = asked.masked[few[of]] if name == "segmentation" else np.ones(of.sum(), bool)
            yield few[of][has], name, {metric: values[has] for metric, values in (found | gains).items()}


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


def _randomised(asked: Asked, method: str, few: Places, raw: Float[np.ndarray, "few *map"]) -> Scores:
    # All on the host: where some leaves lay on a device and the permuted ones not, each layer would compile anew.
    variables = jax.tree.map(np.asarray, dict(asked.variables))
    example = asked.task.inputs(asked.variables, jnp.asarray(asked.data.images[asked.rows[few[:1]]]))
    net = {name: variables[name] for name in ("params", "batch_stats")}
    layers = [path for path in outputs(asked.model, net, example) if path in net["params"]]
    before = [ready(one, asked.size) for one in raw]
    found: dict[str, np.ndarray] = {}
    fallen: list[str] = []
    for layer, without in cascade(net["params"], layers, np.random.default_rng(0)):
        fallen.append(layer)
        statistics = forget_statistics(net["batch_stats"], fallen)
        drawn = asked.maps_with({**variables, "params": without, "batch_stats": statistics}, method, few)
        after = [ready(one, asked.size) for one in drawn]
        found |= _named(f"/{layer}", np.array([alike(*pair) for pair in zip(before, after, strict=True)]))
    return found | _named(REPAIRED, _other_images(before))


def _other_images(looks: Sequence[Ready | None]) -> Float[np.ndarray, "few 2"]:
    """How alike each image's map is to that of another; NaN where there is one image only."""
    found, order = np.full((len(looks), len(SIMILARITIES)), np.nan), circle(len(looks))
    for one, other in zip(order, np.roll(order, -1), strict=True):
        if one != other:
            found[one] = alike(looks[one], looks[other])
    return found


def _named(end: str, values: Float[np.ndarray, "few 2"]) -> dict[str, Float[np.ndarray, "few"]]:
    return {f"randomised_{name}{end}": values[:, place] for place, name in enumerate(SIMILARITIES)}
