"""What every source gives: a list of records that know how to read their image, and the classes they belong to."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

Label = int | tuple[float, ...]
Split = Literal["train", "val", "test"]
Kind = Literal["single", "multilabel"]


class BadImage(Exception):  # noqa: N818  (a state of the file, not a fault of the program)
    """An image that cannot be read as it should be; the message is a reason in one line, without the file's name."""


class BadMask(BadImage):
    """A mask that does not belong to its image: the image is kept, the mask is dropped and listed."""


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file left out of a data set, and why, in one line."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Record:
    """One labelled image, not yet read.

    Attributes:
      image_id: unique and stable: the path relative to the root, with forward slashes, or a name such as
        `train/000123`.
      label: index of the class, or one number per finding (1 present, 0 absent, nan unknown).
      read: gives the image as `[*space, C]` or `[*space]`, uint8, uint16, or float32 in [0, 1]; raises `BadImage`.
        Sources decode JPEGs at a reduced scale where that still holds `image_size` pixels on the shorter side.
      group: what must stay on one side of a split, usually the patient.
      split: the side that the data set's authors chose.
      read_mask: gives the lesion as bool `[*space]`, not always of the image's size but always of its aspect; raises
        `BadMask`.
      columns: further facts by name, such as sex or site, for subgroup tables.
    """

    image_id: str
    label: Label
    read: Callable[[], np.ndarray]
    group: str | None = None
    split: Split | None = None
    read_mask: Callable[[], np.ndarray] | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Every record of one data set, in an order that does not depend on the file system.

    Attributes:
      name: what tables call it.
      classes: names of the classes, or of the findings when `kind` is "multilabel"; labels index them.
      kind: one class per image, or any number of findings per image.
      records: the images.
      simulated: the images are phantoms, and every page that shows them must say so.
      ordinal: the classes are grades in rising order.
      skipped: what listing already had to leave out.
    """

    name: str
    classes: tuple[str, ...]
    kind: Kind
    records: tuple[Record, ...]
    simulated: bool = False
    ordinal: bool = False
    skipped: tuple[Skipped, ...] = ()
