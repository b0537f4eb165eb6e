"""What a saliency method is judged by: scores of each image's map, and the maps that stand beside a method's."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Real, Shaped

from attn_jax.explain.baselines import know_nothing, segmentation
from attn_jax.explain.faithfulness import BATCH, Predict, deletion, insertion
from attn_jax.explain.localise import energy_in_mask, otsu_iou, pointing
from attn_jax.explain.ranking import average_precision
from attn_jax.explain.road import road

# Zhang et al. 2016, arXiv 1608.00507, allow 15 pixels; 224 is what networks of ImageNet take.
_TOLERANCE = 15 / 224
# What these say below 0 speaks against the class.
_FOR_AND_AGAINST = ("integrated_gradients", "occlusion", "rise")


class Metric(NamedTuple):
    """How a score is called, which way is better, what it needs, and what it is."""

    title: str
    higher_is_better: bool
    needs: Literal["masks", "predict"]
    hint: str


METRICS: Mapping[str, Metric] = {
    "iou": Metric("IoU", True, "masks", "overlap of the map above Otsu's threshold with the mask"),
    "hit": Metric("Hit rate", True, "masks", "the map's highest pixel lies in the mask"),
    "pointing": Metric(
        "Pointing game",
        True,
        "masks",
        "the map's highest pixel lies at most 15/224 of the image's longer side from the mask",
    ),
    "energy": Metric("Energy inside", True, "masks", "share of the map's sum that lies in the mask"),
    "auprc": Metric("AUPRC", True, "masks", "area under the precision-recall curve of the map's pixels"),
    "insertion": Metric("Insertion", True, "predict", "area under the probability while the highest pixels come in"),
    "deletion": Metric("Deletion", False, "predict", "area under the probability while the highest pixels go"),
    "road": Metric("ROAD", True, "predict", "probability without the lowest less without the highest pixels, halved"),
}
BASELINES: Mapping[str, str] = {
    "centre": "Middle of the image",
    "edges": "Edges",
    "random": "Random",
    "segmentation": "The mask itself",
}


def localisation(
    maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]
) -> dict[str, Float[np.ndarray, "B"]]:
    """The scores of `METRICS` that need masks, of maps of at least 0 at the masks' size.

    NaN for an empty mask or a map that is not finite.

    Raises:
        ValueError: maps and masks differ in shape, or a map is negative somewhere.
    """
    return {
        "iou": otsu_iou(maps, masks),
        "hit": pointing(maps, masks),
        "pointing": pointing(maps, masks, _TOLERANCE * max(np.shape(maps)[1:])),
        "energy": energy_in_mask(maps, masks),
        "auprc": average_precision(maps, masks),
    }


def faithfulness(
    predict: Predict,
    images: Float[np.ndarray, "B *space C"],
    maps: Real[np.ndarray, "B *space"],
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> dict[str, Float[np.ndarray, "B"]]:
    """The scores of `METRICS` that need the network, of maps at the images' size, of which only the order counts.

    Insertion and deletion ask at `faithfulness.SHARES`. NaN where a map is not finite.

    Args:
        predict: from images as the network takes them to the probability of the target, the same for all.
        images: normalised.
        maps: what is explained.
        seed: of the order of equal pixels, and of ROAD's noise.
        batch: images in one call of `predict`.

    Raises:
        ValueError: images and maps differ in size, or `predict` does not give one number an image.
    """
    return {
        "insertion": insertion(predict, images, maps, seed=seed, batch=batch).auc,
        "deletion": deletion(predict, images, maps, seed=seed, batch=batch).auc,
        "road": road(predict, images, maps, seed=seed, batch=batch).combined,
    }


def beside(
    images: Real[np.ndarray, "B *space C"], masks: Shaped[np.ndarray, "B *space"] | None, seed: int = 0
) -> dict[str, Float[np.ndarray, "B *space"]]:
    """The maps of `BASELINES` for these images; `"segmentation"` where there are masks (an empty one is constant)."""
    maps = know_nothing(images, seed)
    return maps if masks is None else maps | {"segmentation": segmentation(masks)}


def in_favour(maps: Real[np.ndarray, "B *map"], method: str) -> Float[np.ndarray, "B *map"]:
    """What of a method's raw maps speaks for the class: their positive part, where below 0 speaks against it."""
    return np.maximum(maps, 0) if method in _FOR_AND_AGAINST else np.asarray(maps)
