"""Who is in a simulated data set: patients, findings, splits, tags, each a pure function of the seed and the image's
number.

Nothing depends on how many images are made. Shares are kept exactly all the same (to one patient), because the k-th
patient is chosen when `k * fraction + offset` passes a whole number, not by throwing a coin.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from attn_jax.errors import UserError, did_you_mean

_PURPOSES = ("shares", "patient", "anatomy", "lesions", "tag", "acquisition")
MODALITIES = ("radiograph", "dermoscopy", "mr", "ct")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The dials of a simulated data set; see `from_options` for their ranges.

    Attributes:
        shortcut: 0 draws no tag at all. Else, in training and validation, the tag is there exactly when the finding is
            with this probability and by the toss of a coin otherwise; in the test images half of either class carries
            it, so it says nothing.
        size: side of the images in pixels.
        val, test: fractions of the patients.
    """

    modality: str = "radiograph"
    images: int = 400
    images_per_patient: int = 2
    positive_fraction: float = 0.5
    lesion_size: float = 0.15
    lesion_contrast: float = 0.35
    lesions: int = 1
    shortcut: float = 0.0
    seed: int = 0
    size: int = 128
    val: float = 0.15
    test: float = 0.15

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Settings":
        """Reads `data.phantom`, `data.image_size` and `data.split`; raises UserError naming a field out of range."""
        dials = options["phantom"]
        split = options["split"]
        names = [f.name for f in dataclasses.fields(cls) if f.name not in ("size", "val", "test")]
        settings = cls(**{n: dials[n] for n in names}, size=options["image_size"], val=split["val"], test=split["test"])
        if settings.modality not in MODALITIES:
            hint = did_you_mean(settings.modality, MODALITIES)
            raise UserError(f"data.phantom.modality is {settings.modality!r}.{hint}")
        ranges = {
            "images": (1, 10**7),
            "images_per_patient": (1, 1000),
            "positive_fraction": (0, 1),
            "lesion_size": (0.02, 0.5),
            "lesion_contrast": (0, 1),
            "lesions": (1, 20),
            "shortcut": (0, 1),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(settings, name) <= high:
                raise UserError(
                    f"data.phantom.{name} is {getattr(settings, name)}; it must lie between {low} and {high}."
                )
        if not 16 <= settings.size <= 1024:
            raise UserError(f"data.image_size is {settings.size}; simulated images go from 16 to 1024 pixels.")
        if settings.val < 0 or settings.test < 0 or settings.val + settings.test >= 1:
            raise UserError(
                f"data.split.val + data.split.test is {settings.val + settings.test}; nothing is left to train on."
            )
        return settings


@dataclasses.dataclass(frozen=True)
class Case:
    """One image of the data set, before it is drawn."""

    index: int
    patient: int
    positive: bool
    split: Literal["train", "val", "test"]
    tag: bool
    sex: str
    site: str


def stream(settings: Settings, purpose: str, number: int = 0) -> np.random.Generator:
    """The random numbers of one patient or image for one purpose."""
    return np.random.default_rng([settings.seed, _PURPOSES.index(purpose), number])


def case(settings: Settings, index: int) -> Case:
    """Says what image `index` shows."""
    patient, view = divmod(index, settings.images_per_patient)
    who = stream(settings, "patient", patient).random(2)
    offsets = _offsets(settings.seed)
    positive, before = _chosen(patient, settings.positive_fraction, offsets[0])
    rank = before if positive else patient - before  # among the patients of the same class
    in_test, before = _chosen(rank, settings.test, offsets[1 + positive])
    if in_test:
        split: Literal["train", "val", "test"] = "test"
        tag = (before * settings.images_per_patient + view + positive) % 2 == 0
    else:
        in_val, _ = _chosen(rank - before, settings.val / (1 - settings.test), offsets[3 + positive])
        split = "val" if in_val else "train"
        follows, coin = stream(settings, "tag", index).random(2)
        tag = positive if follows < settings.shortcut else coin < 0.5
    sex, site = "F" if who[0] < 0.5 else "M", "B" if who[1] < 0.4 else "A"
    return Case(index, patient, positive, split, bool(tag and settings.shortcut > 0), sex, site)


@functools.lru_cache(maxsize=8)
def _offsets(seed: int) -> np.ndarray:
    return np.random.default_rng([seed, _PURPOSES.index("shares"), 0]).random(5)


def _chosen(k: int, fraction: float, offset: float) -> tuple[bool, int]:
    """Whether the k-th of a row is among the chosen `fraction` of it, and how many before it are."""
    before = math.floor(k * fraction + offset)
    return math.floor((k + 1) * fraction + offset) > before, before
