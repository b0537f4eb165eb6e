"""Where images come from: one file per source, each with `load(options) -> Dataset`."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_jax.data.records import Dataset
from attn_jax.errors import UserError, did_you_mean

SOURCES: dict[str, str] = {
    "folder": "attn_jax.data.sources.folder",
    "table": "attn_jax.data.sources.table",
    "medmnist": "attn_jax.data.sources.medmnist",
    "tfds": "attn_jax.data.sources.tfds",
    "dicom": "attn_jax.data.sources.dicom",
    "nifti": "attn_jax.data.sources.nifti",
    "phantom": "attn_jax.data.sources.phantom",
}
"""Name of the source to the module that loads it, imported when asked for."""

_TABLE = {
    "file": "",
    "format": "auto",
    "path_column": "",
    "label_column": "",
    "finding_columns": (),
    "group_column": "",
    "split_column": "",
    "mask_column": "",
    "boxes": "",
    "subgroup_columns": (),
}
_OPTIONS = {
    "name": "",
    "source": "folder",
    "path": "",
    "on_bad": "error",
    "group_regex": "",
    "ordinal": False,
    "image_size": 0,
    "volume": False,
    "table": _TABLE,
}


def load(options: Mapping[str, Any]) -> Dataset:
    """Lists the data set that `config.data` describes; no image is read yet.

    Args:
      options: the fields of `config.data`. A field left out takes its plain default, and `image_size` 0 means that
        JPEGs are never decoded at a reduced scale.

    Raises:
      UserError: the source is unknown, the path does not exist, or what lies there is no data set.
    """
    complete = {**_OPTIONS, **options}
    complete["table"] = {**_TABLE, **complete["table"]}
    source, path = complete["source"], complete["path"]
    if source not in SOURCES:
        raise UserError(f"data.source={source!r} is unknown.{did_you_mean(source, SOURCES)}")
    if complete["on_bad"] not in ("error", "skip"):
        raise UserError(f"data.on_bad={complete['on_bad']!r} must be 'error' or 'skip'")
    if source != "phantom":
        if not path:
            raise UserError(f"data.path is empty; name the folder or file that data.source={source!r} reads")
        if not Path(path).expanduser().exists():
            raise UserError(f"data.path={path!r} does not exist")
        complete["path"] = str(Path(path).expanduser())
    return importlib.import_module(SOURCES[source]).load(complete)
