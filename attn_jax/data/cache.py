"""Decoded images at working size on disk, so that a data set is decoded once and not once a cell.

An entry is a folder of `images.npy`, `masks.npy` where there are masks, and `records.npz` with the rest. It is written
under another name and renamed, so that a reader never sees half of one and two processes cannot mix theirs.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL

from attn_jax import progress

MEMORY_LIMIT = 2 << 30
"""Bytes of images that `data.cache="auto"` reads into memory; larger sets stay on disk and are mapped."""

_IRRELEVANT = ("split", "normalize", "cache", "positive", "labels")
_CHUNK = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """What a data set holds, apart from how it is split.

    Attributes:
      facts: JSON-able: name, classes, kind, simulated, ordinal, modes, skipped, bad_masks, columns.
      image_ids: `[N]` str.
      labels: int32 `[N]` or float32 `[N, K]`.
      groups: `[N]` str, or None where no record has one.
      official: `[N]` str, "" where the record has none.
      images: uint8 or uint16 `[N, *space, C]`.
      masks: uint8 `[N, *space]` of 0 and 1, or None where no record has one.
      has_mask: bool `[N]`.
      clusters: int `[N]`, near-duplicates share a number.
      sizes: int `[N, space]`, before resizing.
      moments: float64 `[N, 2, C]`, mean of the pixels (in [0, 1]) and of their squares.
      digest: SHA-256 over ids, classes, labels, groups, official split, pixels and masks; paths and times do not count.
    """

    facts: dict[str, Any]
    image_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    official: np.ndarray
    images: np.ndarray
    masks: np.ndarray | None
    has_mask: np.ndarray
    clusters: np.ndarray
    sizes: np.ndarray
    moments: np.ndarray
    digest: str = ""


def _digest(content: Content) -> str:
    groups = None if content.groups is None else content.groups.tolist()
    facts, ids, official = content.facts, content.image_ids.tolist(), content.official.tolist()
    total = hashlib.sha256(json.dumps([facts["classes"], facts["kind"], ids, groups, official]).encode())
    for array in (content.labels, content.has_mask, content.images, content.masks):
        if array is not None:
            total.update(f"{array.dtype.str}{array.shape}".encode())
            for start in range(0, len(array), _CHUNK):
                total.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
    return total.hexdigest()


def key(options: Mapping[str, Any], cache_dir: Path) -> str:
    """Names the entry of a data set: its options, the files it is read from (path, size, time), and our own code."""
    relevant = {name: value for name, value in options.items() if name not in _IRRELEVANT}
    files = []
    if options["source"] != "phantom":
        named = [name for field in ("file", "boxes") if (name := options.get("table", {}).get(field))]
        for root in filter(None, (options["path"], *named, *(os.path.join(options["path"], name) for name in named))):
            files += sorted(_files(Path(root).expanduser(), cache_dir.resolve()))
    described = json.dumps([relevant, files, _code()], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _files(root: Path, cache_dir: Path) -> Iterator[tuple[str, int, int]]:
    if root.is_file():
        stat = root.stat()
        yield str(root), stat.st_size, stat.st_mtime_ns
    elif root.is_dir() and root.resolve() != cache_dir:
        for entry in os.scandir(root):
            if entry.is_dir():
                yield from _files(Path(entry.path), cache_dir)
            elif entry.is_file():
                stat = entry.stat()
                yield entry.path, stat.st_size, stat.st_mtime_ns


@functools.cache
def _code() -> str:
    """A hash of everything that turns files into pixels: this package and the libraries that decode."""
    total = hashlib.sha256(f"{cv2.__version__} {PIL.__version__} {np.__version__}".encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


def load(folder: Path, mode: str) -> Content | None:
    """The entry in `folder`; None where there is none, or where it is damaged, which is said.

    An entry read into memory is checked against its digest; one that is mapped, only for its length.

    Args:
      folder: what `publish` was given.
      mode: "memory", "disk" (mapped), or "auto" (by size).
    """
    content = _read(folder, mode)
    if content is None and folder.is_dir():
        progress.message(f"The image cache in {folder} is damaged; the images are decoded again.")
    return content


def _read(folder: Path, mode: str) -> Content | None:
    with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with open(folder / "records.npz", "rb") as file, np.load(file, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
        facts = json.loads(str(fields.pop("facts")))
        digest = str(fields.pop("digest"))
        bulk = {name: folder / f"{name}.npy" for name in ("images", "masks") if name not in fields}
        in_memory = mode == "memory" or mode == "auto" and sum(p.stat().st_size for p in bulk.values()) <= MEMORY_LIMIT
        fields |= {name: np.load(path, mmap_mode=None if in_memory else "r") for name, path in bulk.items()}
        fields = {name: None if value.size == 0 else value for name, value in fields.items()}
        content = Content(facts, **fields, digest=digest)
        if not in_memory or _digest(content) == digest:
            content.images.flags.writeable = False
            return content
    return None


def save_records(folder: Path, content: Content) -> None:
    """Writes all but the images and masks, which lie in the folder already."""
    fields = {field.name: getattr(content, field.name) for field in dataclasses.fields(Content)}
    fields["facts"] = np.array(json.dumps(content.facts))
    fields["digest"] = np.array(_digest(content))
    del fields["images"]
    if fields["masks"] is not None:
        del fields["masks"]
    arrays: dict[str, Any] = {name: np.zeros(0) if value is None else value for name, value in fields.items()}
    np.savez(folder / "records.npz", **arrays)


@contextlib.contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Gives a new folder to write into, which takes the place of `folder` at the end; on an error nothing remains.

    When another process has published a sound entry meanwhile, that one stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    draft.mkdir()
    try:
        yield draft
        if _read(folder, "auto") is None:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # the other process was first, by less than the line above takes
                draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class ArrayFile:
    """A `.npy` file that grows by one row at a time, so that a data set larger than memory can be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._file = open(path, "w+b")  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.rows:
            self._write_header()
        self._file.close()

    def append(self, row: np.ndarray) -> None:
        """Adds a row, uint8 or uint16; the first uint16 among uint8 widens all, 255 becoming 65535."""
        if not self.rows:
            self.shape, self.dtype = row.shape, row.dtype
            self._write_header()
        elif row.dtype.itemsize > self.dtype.itemsize:
            self._widen()
        elif row.dtype.itemsize < self.dtype.itemsize:
            row = row.astype(np.uint16) * 257
        self._file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def _write_header(self) -> None:
        # NumPy pads headers so that the number of rows may grow: its length is the same for any.
        self._file.seek(0)
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, described)

    def _widen(self) -> None:
        self._write_header()
        self._file.close()
        narrow = np.load(self.path, mmap_mode="r")
        self.path.unlink()  # the map keeps the content
        self._file, self.dtype, rows = open(self.path, "w+b"), np.dtype(np.uint16), self.rows  # noqa: SIM115
        self.rows = 0
        self._write_header()
        for row in narrow:
            self._file.write((row.astype(np.uint16) * 257).data)
        self.rows = rows
