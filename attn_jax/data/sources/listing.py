"""What folder and table hand to whoever reads the files: one entry an image, and the words they share."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attn_jax.data import decode, masks
from attn_jax.data.boxes import Boxes, image_boxes
from attn_jax.data.records import BadImage, BadMask, Dataset, Kind, Label, Record, Skipped, Split
from attn_jax.errors import UserError, did_you_mean

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and columns call the sides of a split, in lower case."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One labelled file, not yet opened; the fields are those of `Record`. A mask counts before boxes."""

    path: Path
    image_id: str
    label: Label
    group: str | None = None
    split: Split | None = None
    mask: Path | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    boxes: Boxes = ()


@dataclasses.dataclass(frozen=True)
class Listing:
    """Every file of a data set with its label; the fields are those of `Dataset`."""

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    kind: Kind = "single"
    ordinal: bool = False
    skipped: tuple[Skipped, ...] = ()

    def dataset(self, options: Mapping[str, Any], records: Sequence[Record]) -> Dataset:
        """The data set of these classes, with `records` made from the entries."""
        name = options["name"] or Path(options["path"]).name
        ordinal = bool(options["ordinal"]) or self.ordinal
        return Dataset(name, self.classes, self.kind, tuple(records), ordinal=ordinal, skipped=self.skipped)


def image_dataset(options: Mapping[str, Any], found: Listing) -> Dataset:
    """The data set of a listing whose files are one image each, in a common format."""
    hint = options["image_size"] or None
    records = [record(entry, functools.partial(decode.read_image, entry.path, hint)) for entry in found.entries]
    return found.dataset(options, records)


def record(entry: Entry, read: Callable[[], np.ndarray]) -> Record:
    """The record of an entry that is one image, its mask an image file as well."""
    read_mask: Callable[[], np.ndarray] | None = None
    if entry.mask:
        read_mask = functools.partial(masks.read_mask, entry.mask, entry.path)
    elif entry.boxes:
        read_mask = functools.partial(_boxed, entry.boxes, entry.path)
    return Record(entry.image_id, entry.label, read, entry.group, entry.split, read_mask, entry.columns)


def _boxed(boxes: Boxes, image_path: Path) -> np.ndarray:
    try:
        return image_boxes(boxes, decode.image_size(image_path))
    except BadMask:
        raise
    except BadImage as error:
        raise BadMask(str(error)) from error


def natural(text: str) -> tuple[list[int | str], str]:
    """A sort key that puts `2.png` before `10.png` and is the same on every file system."""
    pieces = re.split(r"(\d+)", text.casefold())
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)], text


def group_pattern(options: Mapping[str, Any]) -> re.Pattern[str] | None:
    """`data.group_regex` compiled; None when it is empty."""
    try:
        return re.compile(options["group_regex"]) if options["group_regex"] else None
    except re.error as error:
        raise UserError(f"data.group_regex={options['group_regex']!r} is no regular expression: {error}") from error


def group_of(pattern: re.Pattern[str] | None, image_id: str) -> str | None:
    """The group in a file's name: the first group of the match, else the whole match.

    A name that does not match is a group of its own, called by its path so that equal names in two folders stay apart.
    """
    if pattern is None:
        return None
    match = pattern.search(image_id.rsplit("/", 1)[-1])
    if match is None:
        return image_id
    return next((text for text in match.groups() if text is not None), match.group())


def split_of(name: str, where: str) -> Split | None:
    """The side that a word such as `validation` means; None for an empty word."""
    if not name.strip():
        return None
    if name.strip().lower() not in SPLITS:
        raise UserError(f"{where}: {name!r} is no split.{did_you_mean(name, SPLITS)}")
    return SPLITS[name.strip().lower()]


def drop(bad: Sequence[Skipped], on_bad: str, where: str) -> tuple[Skipped, ...]:
    """Passes `bad` on when `data.on_bad` is "skip"; else says in one line how many there are and names the first.

    Raises:
      UserError: something is bad and `on_bad` is not "skip".
    """
    if bad and on_bad != "skip":
        raise UserError(
            f"{where}: {len(bad)} of its images cannot be used, the first is {bad[0].path}: {bad[0].reason}. "
            "Mend them, or leave them out with data.on_bad='skip'."
        )
    return tuple(bad)
