"""DICOM files in class folders or named by a table, as a viewer shows them: modality and VOI transforms applied."""

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from attn_jax import progress
from attn_jax.data import decode, masks
from attn_jax.data.boxes import Boxes, image_boxes
from attn_jax.data.records import BadImage, BadMask, Dataset, Record
from attn_jax.data.sources import table
from attn_jax.data.sources.listing import Entry
from attn_jax.errors import UserError

_HEADER = ["PatientID", "NumberOfFrames"]


def load(options: Mapping[str, Any]) -> Dataset:
    """The DICOM files of `data.path`; every frame of a multi-frame file is a record, all in one group.

    The group is the table's or `data.group_regex`'s, else the PatientID. Grey images are uint16 `[H, W, 1]` over the
    full range, dark to bright whatever the photometric interpretation; colour is RGB.

    Raises:
      UserError: pydicom is not installed, or the files are not laid out as `folder` or `table` expects.
    """
    pydicom = _pydicom()
    found = table.files(options)
    records: list[Record] = []
    for entry in progress.track(found.entries, f"reading the headers of {options['name']}", len(found.entries)):
        records += _frames(pydicom, entry)
    return found.dataset(options, records)


def _pydicom() -> ModuleType:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise UserError("data.source='dicom' needs pydicom: pip install \"attn_jax[medical]\"") from error
    return pydicom


def _frames(pydicom: ModuleType, entry: Entry) -> list[Record]:
    try:
        header = pydicom.dcmread(entry.path, stop_before_pixels=True, specific_tags=_HEADER)
        count, patient = int(header.get("NumberOfFrames") or 1), str(header.get("PatientID") or "")
    except Exception:  # the read of the whole file will tell what is wrong with it
        count, patient = 1, ""
    group = entry.group or patient or entry.image_id
    read_mask: Callable[[], np.ndarray] | None = None
    if entry.mask and count == 1:
        read_mask = functools.partial(_read_mask, entry.mask, entry.path)
    elif entry.boxes and count == 1:
        read_mask = functools.partial(_boxed, entry.boxes, entry.path)
    records = []
    for at in range(count):
        image_id = entry.image_id if count == 1 else f"{entry.image_id}#{at:03d}"
        read = functools.partial(read_frame, entry.path, at)
        records.append(Record(image_id, entry.label, read, group, entry.split, read_mask, entry.columns))
    return records


def read_frame(path: Path, frame: int = 0) -> np.ndarray:
    """One frame as `[H, W, 1]` uint16 over the full range, or `[H, W, 3]` uint8 or uint16.

    Raises:
      BadImage: no DICOM file, no pixels in it, or a transfer syntax that no installed package decodes.
    """
    pydicom = _pydicom()
    content = path.read_bytes()
    if not content:
        raise BadImage("the file is empty (0 bytes)")
    try:
        header = pydicom.dcmread(path)
        if "PixelData" not in header:
            raise BadImage("a DICOM file without pixels")
        single = int(header.get("NumberOfFrames") or 1) == 1
        stored = pydicom.pixels.pixel_array(header, index=None if single else frame)
        return _shown(pydicom, header, stored)
    except BadImage:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise BadImage("not a DICOM file; for PNG and JPEG set data.source='folder'") from error
    except Exception as error:  # damaged files raise anything; a missing decoder a RuntimeError that names packages
        raise BadImage(f"cannot be decoded: {' '.join(str(error).split())[:200]}") from error


def _shown(pydicom: ModuleType, header: Any, stored: np.ndarray) -> np.ndarray:
    if header.PhotometricInterpretation == "PALETTE COLOR":
        stored = pydicom.pixels.apply_color_lut(stored, header)
        return stored if stored.dtype == np.uint8 else stored.astype(np.uint16)
    if header.get("SamplesPerPixel", 1) == 3:
        return stored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values of several windows, of which the first counts
        values = pydicom.pixels.apply_modality_lut(stored, header).astype(np.float64)
    unit = _voi(header, values, pydicom)
    if header.PhotometricInterpretation == "MONOCHROME1":
        unit = 1 - unit
    return np.round(unit * 65535).astype(np.uint16)[..., None]


def _voi(header: Any, values: np.ndarray, pydicom: ModuleType) -> np.ndarray:
    """Values to [0, 1] by the file's first VOI table or window (DICOM PS3.3 C.11.2), else from lowest to highest."""
    if header.get("VOILUTSequence"):
        _, _, bits = header.VOILUTSequence[0].LUTDescriptor
        return pydicom.pixels.apply_voi(values.astype(np.int32), header) / (2 ** int(bits) - 1)
    if header.get("WindowWidth") is not None and header.get("WindowCenter") is not None:
        center, width = (float(np.atleast_1d(header[tag].value)[0]) for tag in ("WindowCenter", "WindowWidth"))
        function = header.get("VOILUTFunction") or "LINEAR"
        return window(values, center, width, function)
    low, high = values.min(), values.max()
    return (values - low) / max(high - low, 1e-12)


def window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Values to [0, 1] by a window, as DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3 define `function`."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    return np.clip((values - center) / max(width, 1e-12) + 0.5, 0, 1)


def _boxed(boxes: Boxes, path: Path) -> np.ndarray:
    """What the boxes cover in a single-frame file."""
    header = _pydicom().dcmread(path, stop_before_pixels=True)
    return image_boxes(boxes, (int(header.Rows), int(header.Columns)))


def _read_mask(mask_path: Path, image_path: Path) -> np.ndarray:
    """The lesion in a mask beside a single-frame file: a DICOM file or any image format."""
    with open(mask_path, "rb") as file:
        head = file.read(132)
    try:
        image = _pydicom().dcmread(image_path, stop_before_pixels=True)
        if head[128:] == b"DICM":
            values, lossless = read_frame(mask_path)[..., 0], True
        else:
            values = decode.read_image(mask_path).max(axis=-1)
            lossless = decode.image_format(head) != "JPEG"
        masks.check_shape(values.shape, (int(image.Rows), int(image.Columns)))
    except BadMask:
        raise
    except BadImage as error:
        raise BadMask(f"mask {mask_path.name}: {error}") from error
    return masks.lesion(values, lossless)
