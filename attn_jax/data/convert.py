"""Any data set to a TFDS set in ArrayRecord files, which then reads fast and without TensorFlow.

    python -m attn_jax.data.convert --source=folder --path=DIR --out=DIR

The result is read with `data.source="tfds"`, or by anybody with `tfds.builder_from_directory(...).as_data_source()`.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attn_jax import progress
from attn_jax.data.records import BadImage, Dataset, Record
from attn_jax.data.sources import load
from attn_jax.errors import UserError

_SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test", None: "train"}


@dataclasses.dataclass(frozen=True)
class _Form:
    """What all images of a set are written as: a PNG, or for volumes a tensor."""

    dimensions: int
    channels: int
    dtype: type[np.generic]


def convert(dataset: Dataset, out_dir: str | Path, *, on_bad: str = "error") -> Path:
    """Writes every image of `dataset`, losslessly and at the size its records give, as a TFDS set of its name.

    Images that differ in channels or depth are all written as the richest of them. An image that cannot be read stops
    the conversion, or with `on_bad="skip"` is left out and named; a bad mask is left out and named.

    Returns:
      The folder of the prepared set, `<out_dir>/<name>/1.0.0`.

    Raises:
      UserError: the set exists already, holds an unreadable image, or none at all.
    """
    import tensorflow_datasets as tfds

    name = re.sub(r"[^a-z0-9_]+", "_", dataset.name.lower()).strip("_")
    name = name if name[:1].isalpha() else f"set_{name}"
    folder = Path(out_dir).expanduser() / name / "1.0.0"
    if folder.exists():
        raise UserError(f"{folder} exists already; delete it or give another --out")
    form, records = _survey(dataset, on_bad)
    parts = {_SPLIT_NAMES[record.split] for record in records}

    class Converted(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            about = {"classes": list(dataset.classes), "ordinal": dataset.ordinal, "simulated": dataset.simulated}
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{dataset.name}, converted by attn_jax",
                features=tfds.features.FeaturesDict(_features(tfds, dataset, form)),
                metadata=tfds.core.MetadataDict(about),
                disable_shuffling=True,  # the order of the records is kept
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
            return {part: self._generate_examples(part) for part in sorted(parts)}

        def _generate_examples(self, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
            mine = [record for record in records if _SPLIT_NAMES[record.split] == part]
            for at, record in enumerate(progress.track(mine, f"writing {name}, {part}", len(mine))):
                yield at, _example(record, form)

    Converted.name = name
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS would say that it downloads
        Converted(data_dir=Path(out_dir).expanduser(), file_format="array_record").download_and_prepare()
    return folder


def _survey(dataset: Dataset, on_bad: str) -> tuple[_Form, list[Record]]:
    """Reads every image once, to know the form that holds them all and which of them cannot be read."""
    good: list[Record] = []
    forms: set[tuple[int, int, np.dtype]] = set()
    for record in progress.track(dataset.records, f"checking {dataset.name}", len(dataset.records)):
        try:
            image = _with_channels(record.read())
        except BadImage as error:
            if on_bad != "skip":
                raise UserError(f"{record.image_id}: {error}. Mend it, or leave it out with --on_bad=skip") from error
            progress.message(f"left out {record.image_id}: {error}")
            continue
        forms.add((image.ndim - 1, image.shape[-1], image.dtype))
        good.append(_without_bad_mask(record))
    dimensions = {form[0] for form in forms}
    if len(dimensions) != 1:
        raise UserError(f"{dataset.name} " + ("mixes images and volumes" if dimensions else "holds no readable image"))
    wide = any(dtype != np.uint8 for _, _, dtype in forms)
    return _Form(dimensions.pop(), max(form[1] for form in forms), np.uint16 if wide else np.uint8), good


def _without_bad_mask(record: Record) -> Record:
    try:
        if record.read_mask:
            record.read_mask()
        return record
    except BadImage as error:
        progress.message(f"left out the mask of {record.image_id}: {error}")
        return dataclasses.replace(record, read_mask=None)


def _features(tfds: Any, dataset: Dataset, form: _Form) -> dict[str, Any]:
    def picture(channels: int, dtype: type[np.generic]) -> Any:
        shape = (None,) * form.dimensions + (channels,)
        if form.dimensions == 2:
            return tfds.features.Image(shape=shape, dtype=dtype, encoding_format="png")
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")

    findings = tfds.features.Tensor(shape=(len(dataset.classes),), dtype=np.float32)
    text = {key: tfds.features.Text() for key in ("image_id", "group", "split", "columns")}
    return {
        "image": picture(form.channels, form.dtype),
        "label": findings if dataset.kind == "multilabel" else tfds.features.ClassLabel(names=list(dataset.classes)),
        "mask": picture(1, np.uint8),
        "has_mask": tfds.features.Scalar(dtype=np.bool_),
        **text,
    }


def _example(record: Record, form: _Form) -> dict[str, Any]:
    image = _in_form(_with_channels(record.read()), form)
    blank = np.zeros((1,) * form.dimensions, bool)
    mask = (record.read_mask() if record.read_mask else blank)[..., None].astype(np.uint8) * 255
    label = np.asarray(record.label, np.float32) if isinstance(record.label, tuple) else record.label
    return {
        "image": _png(image) if form.dimensions == 2 else image,
        "label": label,
        "mask": _png(mask) if form.dimensions == 2 else mask,
        "has_mask": record.read_mask is not None,
        "image_id": record.image_id,
        "group": record.group or "",
        "split": record.split or "",
        "columns": json.dumps(dict(record.columns)),
    }


def _with_channels(image: np.ndarray) -> np.ndarray:
    """`[H, W]` and `[D, H, W]` get their channel axis; what ends in 1 or 3 already has it."""
    return image if image.ndim == 4 or image.ndim == 3 and image.shape[-1] in (1, 3) else image[..., None]


def _in_form(image: np.ndarray, form: _Form) -> np.ndarray:
    if image.dtype != form.dtype:
        image = np.round(image * 65535.0) if image.dtype == np.float32 else image.astype(np.uint16) * 257
    return np.broadcast_to(image.astype(form.dtype), (*image.shape[:-1], form.channels))


def _png(image: np.ndarray) -> bytes:
    if image.dtype == np.uint16 and image.shape[-1] == 3:  # which Pillow cannot write
        import cv2

        return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)).save(stream, "PNG")
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code: 0 done, 2 a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="python -m attn_jax.data.convert", description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="folder", choices=("folder", "table", "medmnist", "dicom", "nifti"))
    parser.add_argument("--path", required=True, help="the folder or file that the source reads")
    parser.add_argument("--out", required=True, help="the folder to make the set in")
    parser.add_argument("--name", default="", help="the set's name; the folder's unless given")
    parser.add_argument("--group_regex", default="", help="the patient in the file's name")
    parser.add_argument("--table", default="", metavar="FILE", help="the CSV or Parquet file, where there are several")
    parser.add_argument("--on_bad", default="error", choices=("error", "skip"), help="what to do with unreadable files")
    given = parser.parse_args(arguments)
    options = {key: getattr(given, key) for key in ("source", "path", "name", "group_regex", "on_bad")}
    try:
        folder = convert(load({**options, "table": {"file": given.table}}), given.out, on_bad=given.on_bad)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
