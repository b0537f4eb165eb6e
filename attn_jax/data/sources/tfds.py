"""TFDS sets prepared as ArrayRecord, public ones and those of `attn_jax.data.convert`, read without TensorFlow."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attn_jax import progress
from attn_jax.data import decode
from attn_jax.data.records import BadImage, Dataset, Label, Record, Skipped
from attn_jax.data.sources.listing import SPLITS, drop, group_of, group_pattern, natural
from attn_jax.errors import UserError

_AGAIN = (
    "prepare it with `tfds build NAME --file_format=array_record` (where its generator wants TensorFlow, once in an "
    "environment that has it)"
)


def load(options: Mapping[str, Any]) -> Dataset:
    """The prepared set at `data.path`: its own folder, its version's folder, or a `data_dir` that holds the set `name`.

    Images are found by the feature type, labels as `label` or the only ClassLabel; of the other features `image_id`,
    `group`, `split`, `mask` (with `has_mask`) and `columns` (JSON) are used when present.

    Raises:
      UserError: no prepared set, one stored as TFRecord, or one without an image and a label per example.
    """
    import tensorflow_datasets as tfds

    folder = _prepared(Path(options["path"]), options["name"])
    builder = tfds.builder_from_directory(folder)
    info = builder.info
    if info.file_format is None or info.file_format.value != "array_record":
        stored = info.file_format.value if info.file_format else "an unknown format"
        raise UserError(f"{folder} is stored as {stored}, which only TensorFlow reads here; {_AGAIN}")
    image_key, label_key = _keys(tfds, info.features, folder)
    encoded = isinstance(info.features[image_key], tfds.features.Image)
    skip = {key: tfds.decode.SkipDecoding() for key in (image_key, "mask") if encoded and key in info.features}
    metadata = info.metadata or {}
    classes = tuple(metadata.get("classes") or info.features[label_key].names)
    records: list[Record] = []
    bad: list[Skipped] = []
    read_with = functools.partial(_read, key=image_key, hint=options["image_size"] or None)
    pattern = group_pattern(options)
    for split in sorted(info.splits):
        source = builder.as_data_source(split=split, decoders=skip)
        for at in progress.track(range(len(source)), f"reading the labels of {info.name}, {split}", len(source)):
            example = source[at]
            image_id = _text(example, "image_id") or f"{split}/{at:06d}"
            label = _label(example[label_key])
            if label is None:
                bad.append(Skipped(image_id, "it has no label"))
                continue
            side = _text(example, "split") if "split" in example else split
            has_mask = "mask" in example and bool(example.get("has_mask", True))
            records.append(
                Record(
                    image_id,
                    label,
                    functools.partial(read_with, source, at),
                    group=_text(example, "group") or group_of(pattern, image_id),
                    split=SPLITS.get(side.lower()),
                    read_mask=functools.partial(_read_mask, source, at) if has_mask else None,
                    columns=json.loads(_text(example, "columns") or "{}"),
                )
            )
    if {record.split for record in records} <= {"train", None}:
        records = [_without_split(record) for record in records]
    records.sort(key=lambda record: natural(record.image_id))
    return Dataset(
        options["name"] or info.name,
        classes,
        "multilabel" if records and isinstance(records[0].label, tuple) else "single",
        tuple(records),
        simulated=metadata.get("simulated", False),
        ordinal=bool(options["ordinal"]) or metadata.get("ordinal", False),
        skipped=drop(bad, options["on_bad"], str(folder)),
    )


def _prepared(path: Path, name: str) -> Path:
    found = [file.parent for level in ("", "*/", "*/*/", "*/*/*/") for file in path.glob(f"{level}dataset_info.json")]
    named = [folder for folder in found if name and name in folder.relative_to(path).parts]
    fits = sorted(named or found, key=lambda folder: natural(folder.as_posix()))
    if not fits:
        raise UserError(f"data.path={str(path)!r} holds no prepared TFDS set (no dataset_info.json); {_AGAIN}")
    if len({folder.parent for folder in fits}) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in fits[:5])
        raise UserError(f"data.path={str(path)!r} holds several TFDS sets, {names}; name one of them by data.path")
    return fits[-1]


def _keys(tfds: Any, features: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    images = [key for key in features if isinstance(features[key], tfds.features.Image) and key != "mask"]
    labels = [key for key in features if isinstance(features[key], tfds.features.ClassLabel)]
    image = "image" if "image" in features else images[0] if len(images) == 1 else None
    label = "label" if "label" in features else labels[0] if len(labels) == 1 else None
    if image is None or label is None:
        raise UserError(
            f"{folder} must have one `image` and one `label` per example; its features are {', '.join(features)}"
        )
    return image, label


def _label(value: Any) -> Label | None:
    if np.ndim(value):
        return tuple(map(float, value))
    return int(value) if value >= 0 else None


def _text(example: Mapping[str, Any], key: str) -> str:
    value = example.get(key, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _without_split(record: Record) -> Record:
    return Record(record.image_id, record.label, record.read, record.group, None, record.read_mask, record.columns)


def _read(source: Any, at: int, *, key: str, hint: int | None) -> np.ndarray:
    image = source[at][key]
    if isinstance(image, bytes):
        return decode.decode_image(image, hint)
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise BadImage(f"pixels of type {image.dtype}; only uint8, uint16 and float32 are images")
    return image


def _read_mask(source: Any, at: int) -> np.ndarray:
    mask = source[at]["mask"]
    return (decode.decode_image(mask) if isinstance(mask, bytes) else mask)[..., 0] > 0
