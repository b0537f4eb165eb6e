"""Draws one simulated image from its case."""

import functools

import numpy as np

from attn_jax.data.phantom import ct, dermoscopy, mr, radiograph
from attn_jax.data.phantom.canvas import Canvas
from attn_jax.data.phantom.cases import Case, Settings, stream
from attn_jax.data.phantom.lesions import Lesions
from attn_jax.data.phantom.scene import Scene

_DRAW = {"radiograph": radiograph.draw, "dermoscopy": dermoscopy.draw, "mr": mr.draw, "ct": ct.draw}
_INK = {"radiograph": (245,), "mr": (235,), "ct": (235,), "dermoscopy": (70, 40, 150)}

_SMALLEST = 96  # smaller images are drawn larger and averaged: ribs and vessels would be too thick for their pixels


def simulate(settings: Settings, shown: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the image, uint8 [size, size, C], and the mask of its lesions, bool [size, size].

    Dermoscopy has 3 channels, the others 1. The mask is None where nothing is planted. The same case without the
    finding, or the tag, differs nowhere else.
    """
    acquisition = stream(settings, "acquisition", shown.index)
    shift = acquisition.uniform(-0.03, 0.03, 2)
    turn = acquisition.uniform(-30, 30) if settings.modality == "dermoscopy" else acquisition.uniform(-3, 3)
    lesions = None
    if shown.positive:
        own = stream(settings, "lesions", shown.patient)
        lesions = Lesions(settings.lesion_size, settings.lesion_contrast, settings.lesions, own)
    finer = -(-_SMALLEST // settings.size)
    scene = Scene(
        canvas=Canvas(finer * settings.size, (shift[0], shift[1]), turn, acquisition.uniform(0.97, 1.03)),
        anatomy=stream(settings, "anatomy", shown.patient),
        acquisition=acquisition,
        lesions=lesions,
        sex=shown.sex,
        site=shown.site,
    )
    drawn, mask = _DRAW[settings.modality](scene)
    if finer > 1:
        drawn, mask = _shrink(drawn, finer), None if mask is None else _shrink_mask(mask, finer)
    drawn = drawn * 255 + 0.5
    image = np.clip(drawn, 0, 255, out=drawn).astype(np.uint8, order="C")
    if image.ndim == 2:
        image = image[..., None]
    if shown.tag:
        image[_letter(settings.size)] = _INK[settings.modality]
    return image, mask


def _shrink(field: np.ndarray, finer: int) -> np.ndarray:
    """Means over blocks of `finer` x `finer` pixels."""
    rows, columns, *channels = field.shape
    return field.reshape(rows // finer, finer, columns // finer, finer, *channels).mean((1, 3))


def _shrink_mask(mask: np.ndarray, finer: int) -> np.ndarray:
    share = _shrink(mask, finer)
    return share >= min(0.5, share.max())


def tag_mask(size: int) -> np.ndarray:
    """The box of the tag, an L in the upper right corner (the patient's left): bool [size, size], fixed."""
    box = np.zeros((size, size), bool)
    top, left, side = _box(size)
    box[top : top + side, left : left + side] = True
    return box


def _box(size: int) -> tuple[int, int, int]:
    side, margin = max(4, round(0.11 * size)), max(1, round(0.04 * size))
    return margin, size - margin - side, side


@functools.lru_cache(maxsize=8)
def _letter(size: int) -> np.ndarray:
    top, left, side = _box(size)
    stem = max(1, round(0.28 * side))
    letter = np.zeros((size, size), bool)
    letter[top : top + side, left + stem : left + 2 * stem] = True
    letter[top + side - stem : top + side, left + stem : left + side] = True
    return letter
