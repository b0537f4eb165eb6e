"""NIfTI volumes, one file a patient, in class folders or named by a table; as volumes or as slices."""

import functools
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from attn_jax import progress
from attn_jax.data.records import BadImage, BadMask, Dataset, Record
from attn_jax.data.sources import table
from attn_jax.data.sources.listing import Entry
from attn_jax.errors import UserError

PERCENTILES = (0.5, 99.5)
"""What a volume's intensities are scaled between, so that single bright voxels do not darken the rest."""

_UNEQUAL_SPACING = 1.1
_lock = threading.Lock()


def load(options: Mapping[str, Any]) -> Dataset:
    """The volumes of `data.path`; masks are NIfTI files of the same name in `masks/`.

    Volumes are turned to RAS+ axes and scaled to [0, 1] between `PERCENTILES`. With `data.volume` each file is a record
    `[X, Y, Z, 1]`; else each slice across the axis of the largest spacing (axial when all are alike) is one
    `[H, W, 1]`, seen with anterior or superior up, and the slices of a file are a group.

    Raises:
      UserError: nibabel is not installed, or the files are not laid out as `folder` or `table` expects.
    """
    nibabel = _nibabel()
    if options["table"]["boxes"]:
        raise UserError("data.table.boxes: boxes are for pictures; a volume needs a mask (data.table.mask_column)")
    found = table.files(options)
    records: list[Record] = []
    for entry in progress.track(found.entries, f"reading the headers of {options['name']}", len(found.entries)):
        records += _whole(entry) if options["volume"] else _slices(nibabel, entry)
    return found.dataset(options, records)


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise UserError("data.source='nifti' needs nibabel: pip install \"attn_jax[medical]\"") from error
    return nibabel


def _whole(entry: Entry) -> list[Record]:
    read_mask = functools.partial(_mask, entry.mask, entry.path) if entry.mask else None
    read = functools.partial(_image, entry.path)
    return [Record(entry.image_id, entry.label, read, entry.group, entry.split, read_mask, entry.columns)]


def _slices(nibabel: ModuleType, entry: Entry) -> list[Record]:
    try:
        header = nibabel.as_closest_canonical(nibabel.load(entry.path))
        spacing = np.asarray(header.header.get_zooms()[:3], dtype=float)
        axis = int(np.argmax(spacing)) if spacing.max() > _UNEQUAL_SPACING * spacing.min() else 2
        count = header.shape[axis]
    except Exception:  # the read of the whole file will tell what is wrong with it
        return _whole(entry)
    records = []
    for at in range(count):
        read_mask = functools.partial(_mask, entry.mask, entry.path, (axis, at)) if entry.mask else None
        read = functools.partial(_image, entry.path, (axis, at))
        group = entry.group or entry.image_id
        image_id = f"{entry.image_id}#{at:03d}"
        records.append(Record(image_id, entry.label, read, group, entry.split, read_mask, entry.columns))
    return records


def _image(path: Path, plane: tuple[int, int] | None = None) -> np.ndarray:
    return _part(_scaled(path), plane)[..., None]


def _mask(path: Path, image_path: Path, plane: tuple[int, int] | None = None) -> np.ndarray:
    try:
        volume = _volume(path)
    except BadImage as error:
        raise BadMask(f"mask {path.name}: {error}") from error
    shape = _scaled(image_path).shape
    if volume.shape != shape:
        raise BadMask(f"the mask has {volume.shape} voxels, the image {shape}")
    return _part(volume, plane) > 0


def _part(volume: np.ndarray, plane: tuple[int, int] | None) -> np.ndarray:
    """An RAS+ volume, or of `plane` (axis, index) the slice, its upper row the most anterior (or superior) one."""
    if plane is None:
        return volume
    axis, at = plane
    return np.rot90(np.take(volume, at, axis))


def _scaled(path: Path) -> np.ndarray:
    with _lock:  # threads reading slices of one file would each unpack it
        return _cached_scaled(path)


@functools.lru_cache(maxsize=3)
def _cached_scaled(path: Path) -> np.ndarray:
    volume = _volume(path)
    low, high = np.percentile(volume, PERCENTILES)
    if high <= low:
        low, high = float(volume.min()), float(volume.max())
    return np.clip((volume - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)


@functools.lru_cache(maxsize=3)
def _volume(path: Path) -> np.ndarray:
    nibabel = _nibabel()
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        volume = image.get_fdata(dtype=np.float32, caching="unchanged")
    except Exception as error:  # damaged archives and headers raise zlib, OS and nibabel's own errors
        raise BadImage(f"damaged or no NIfTI file: {' '.join(str(error).split())[:150]}") from error
    volume = volume[..., 0] if volume.ndim == 4 and volume.shape[3] == 1 else volume
    if volume.ndim != 3:
        raise BadImage(f"a volume of {volume.ndim} dimensions, {volume.shape}; save one 3-D file each")
    if not np.isfinite(volume).all():
        raise BadImage("holds voxels that are not finite numbers")
    return volume
