"""Lesion masks that lie beside the images: which mask belongs to which image, and what counts as lesion in it."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from attn_jax.data import decode
from attn_jax.data.records import BadImage, BadMask, Skipped
from attn_jax.errors import UserError

FOLDERS = ("masks", "mask", "segmentations")
"""Folders of this name, in any case, hold masks and are never a class."""

_ENDING = re.compile(r"[-_](mask|segmentation|seg)(_\d+)?$", re.IGNORECASE)
_FEW_VALUES = 16


def read_mask(mask_path: Path, image_path: Path) -> np.ndarray:
    """The lesion in a mask file as bool `[H, W]`.

    A lossless file of few values is a label map in which any nonzero value is lesion; elsewhere, as in JPEGs, whose
    edges smear, the upper half of the range is.

    Raises:
      BadMask: the file cannot be read, or its shape is not that of its image to within a pixel of rounding.
    """
    try:
        pixels = decode.read_image(mask_path)
        check_shape(pixels.shape[:2], decode.image_size(image_path))
    except BadMask:
        raise
    except BadImage as error:
        raise BadMask(f"mask {mask_path.name}: {error}") from error
    with open(mask_path, "rb") as file:
        lossless = decode.image_format(file.read(16)) != "JPEG"
    return lesion(pixels.max(axis=-1), lossless)


def lesion(values: np.ndarray, lossless: bool) -> np.ndarray:
    """Where a mask's values mean lesion, as bool of the same shape."""
    top = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1.0
    if values.max(initial=0) <= 1 < top or lossless and len(np.unique(values)) <= _FEW_VALUES:
        return values > 0
    return values >= (top + 1) // 2 if values.dtype.kind == "u" else values >= 0.5


def check_shape(mask: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Raises `BadMask` unless a mask of height and width `mask` is its image of size `image`, perhaps resized."""
    (mask_height, mask_width), (height, width) = mask, image
    if abs(mask_height - height * mask_width / width) > 1 and abs(mask_width - width * mask_height / height) > 1:
        raise BadMask(f"the mask has {mask_height} x {mask_width} pixels, the image {height} x {width}: another shape")


def match(image_ids: Sequence[str], mask_ids: Sequence[str]) -> tuple[dict[str, str], list[Skipped]]:
    """Finds the image of every mask by its file name or stem, and the folders that both lie in.

    `masks/7.png` fits `yes/7.jpg`; `masks/yes/7.png`, `yes/masks/7.png` and `yes/7_mask.png` do as well.

    Args:
      image_ids: paths of the images relative to the root, with forward slashes.
      mask_ids: the same of the masks, folders named in `FOLDERS` not counting.

    Returns:
      The mask of each image that has one, and the masks that fit no image or a second mask of one.

    Raises:
      UserError: a mask fits two images equally well.
    """
    by_stem: dict[str, list[str]] = {}
    for image_id in image_ids:
        by_stem.setdefault(stem(image_id), []).append(image_id)
    masks: dict[str, str] = {}
    skipped = []
    for mask_id in mask_ids:
        folders = {part for part in PurePosixPath(mask_id).parts[:-1] if part.lower() not in FOLDERS}
        own, name = stem(mask_id), PurePosixPath(mask_id).name
        same_stem = by_stem.get(own) or by_stem.get(_ENDING.sub("", own), [])
        fits = [image for image in same_stem if folders <= set(PurePosixPath(image).parts[:-1])]
        fits = [image for image in fits if PurePosixPath(image).name == name] or fits
        if len(fits) > 1:
            raise UserError(f"mask {mask_id} fits {fits[0]} and {fits[1]}; put it into masks/<the image's folder>/")
        if not fits:
            skipped.append(Skipped(mask_id, "a mask without an image of its name"))
        elif fits[0] in masks:
            skipped.append(Skipped(mask_id, f"a second mask of {fits[0]}, after {masks[fits[0]]}"))
        else:
            masks[fits[0]] = mask_id
    return masks, skipped


def beside(image_ids: Sequence[str]) -> set[str]:
    """Those of the files that are masks lying beside their image, as `7_mask.png` beside `7.png` is."""
    stems = {(str(PurePosixPath(image_id).parent), stem(image_id)) for image_id in image_ids}
    found = set()
    for image_id in image_ids:
        bare = _ENDING.sub("", stem(image_id))
        if bare != stem(image_id) and (str(PurePosixPath(image_id).parent), bare) in stems:
            found.add(image_id)
    return found


def stem(path: str) -> str:
    """The name of the file at `path` without its extension, `.nii.gz` being one."""
    name = PurePosixPath(path).name
    return name[:-7] if name.lower().endswith(".nii.gz") else PurePosixPath(path).stem
