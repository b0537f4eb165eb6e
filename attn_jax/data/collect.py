"""Reads every image of a data set once, in threads, and lays it down at working size."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attn_jax import progress
from attn_jax.data.cache import ArrayFile, Content, save_records
from attn_jax.data.duplicates import clusters
from attn_jax.data.records import BadImage, Dataset, Record, Skipped
from attn_jax.data.resize import fit_image, fit_mask
from attn_jax.data.sources.listing import drop
from attn_jax.errors import UserError

_AHEAD = 64


class _Facts(NamedTuple):
    """What is kept of an image beside its pixels."""

    record: Record
    size: tuple[int, ...]
    mode: str
    moments: np.ndarray
    has_mask: bool
    bad_mask: str


def collect(dataset: Dataset, folder: Path, *, size: int, channels: int, space: int, on_bad: str) -> None:
    """Writes the data set into `folder` as a cache entry.

    Args:
      dataset: what a source listed.
      folder: where the files of the entry go.
      size: pixels along each spatial axis.
      channels: 1 or 3.
      space: number of spatial axes.
      on_bad: "error" or "skip", for images that cannot be read. A mask that cannot is dropped and listed in any case.

    Raises:
      UserError: images are bad and `on_bad` is "error", or none is left.
    """
    kept: list[_Facts] = []
    bad: list[Skipped] = []
    has_masks = any(record.read_mask is not None for record in dataset.records)
    with ArrayFile(folder / "images.npy") as images, ArrayFile(folder / "masks.npy") as masks:
        reading = _read_all(dataset.records, size, channels, space)
        for found in progress.track(reading, f"decoding {dataset.name}", len(dataset.records)):
            if isinstance(found, Skipped):
                bad.append(found)
            else:
                facts, pixels, mask = found
                kept.append(facts)
                images.append(pixels)
                if has_masks:
                    masks.append(mask)
    drop(bad, on_bad, f"data set {dataset.name!r}")
    if not kept:
        raise UserError(f"data set {dataset.name!r} has no image that can be read")
    content = _content(dataset, kept, bad, folder)
    if content.masks is None:
        (folder / "masks.npy").unlink()
    save_records(folder, content)


def _read_all(
    records: Sequence[Record], size: int, channels: int, space: int
) -> Iterator[Skipped | tuple[_Facts, np.ndarray, np.ndarray]]:
    """Reads in threads, in order, a few images ahead of the caller."""

    def read(record: Record) -> Skipped | tuple[_Facts, np.ndarray, np.ndarray]:
        try:
            image = record.read()
        except BadImage as error:
            return Skipped(record.image_id, str(error))
        colour = image.ndim > space and image.shape[-1] == 3
        mode = f"{'colour' if colour else 'grey'}, {8 * image.dtype.itemsize} bit"
        pixels = fit_image(image, size, channels, space)
        scaled = pixels.reshape(-1, channels) / np.float64(np.iinfo(pixels.dtype).max)
        moments = np.stack([scaled.mean(0), np.square(scaled).mean(0)])
        mask, bad_mask = np.zeros((size,) * space, np.uint8), ""
        has_mask = record.read_mask is not None
        if record.read_mask is not None:
            try:
                mask = fit_mask(record.read_mask(), size)
            except BadImage as error:
                has_mask, bad_mask = False, str(error)
        return _Facts(record, image.shape[:space], mode, moments, has_mask, bad_mask), pixels, mask

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(records), _AHEAD):
            yield from threads.map(read, records[start : start + _AHEAD])


def _content(dataset: Dataset, kept: Sequence[_Facts], bad: Sequence[Skipped], folder: Path) -> Content:
    records = [facts.record for facts in kept]
    images = np.load(folder / "images.npy", mmap_mode="r")
    has_mask = np.array([facts.has_mask for facts in kept])
    single = dataset.kind == "single"
    groups = [record.image_id if record.group is None else record.group for record in records]
    columns = {name for record in records for name in record.columns}
    skipped = [vars(item) for item in (*dataset.skipped, *bad)]
    with progress.task(f"looking for near-duplicates in {dataset.name}"):
        found = clusters(images)
    described = {
        "name": dataset.name,
        "classes": list(dataset.classes),
        "kind": dataset.kind,
        "simulated": dataset.simulated,
        "ordinal": dataset.ordinal,
        "modes": dict(Counter(facts.mode for facts in kept)),
        "skipped": skipped,
        "bad_masks": [{"path": f.record.image_id, "reason": f.bad_mask} for f in kept if f.bad_mask],
        "columns": {name: [record.columns.get(name, "") for record in records] for name in sorted(columns)},
    }
    return Content(
        facts=described,
        image_ids=np.array([record.image_id for record in records]),
        labels=np.array([record.label for record in records], np.int32 if single else np.float32),
        groups=np.array(groups) if any(record.group is not None for record in records) else None,
        official=np.array([record.split or "" for record in records], "<U5"),
        images=images,
        masks=np.load(folder / "masks.npy", mmap_mode="r") if has_mask.any() else None,
        has_mask=has_mask,
        clusters=found,
        sizes=np.array([facts.size for facts in kept]),
        moments=np.array([facts.moments for facts in kept]),
    )
