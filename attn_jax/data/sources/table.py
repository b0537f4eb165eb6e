"""A CSV or Parquet file that names the images: path, label or one column per finding, group, split, mask, boxes."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attn_jax import progress
from attn_jax.data.records import Dataset, Label, Skipped
from attn_jax.data.sources import folder
from attn_jax.data.sources.box_table import Boxes, boxes_of
from attn_jax.data.sources.find_files import Finder
from attn_jax.data.sources.known_tables import KNOWN_TABLES, Columns
from attn_jax.data.sources.listing import (
    Entry,
    Listing,
    drop,
    group_of,
    group_pattern,
    image_dataset,
    natural,
    split_of,
)
from attn_jax.data.sources.read_table import read
from attn_jax.errors import UserError, did_you_mean

_PATH_NAMES = "path file filename file_name filepath file_path image image_path image_id image_name img".split()
_LABEL_NAMES = "label labels class class_name target diagnosis dx category finding grade level y".split()
_GROUP_NAMES = "group patient patient_id patientid subject subject_id case_id".split()
_SPLIT_NAMES = ["split"]
_MASK_NAMES = ["mask", "mask_path"]
_SUFFIXES = (".csv", ".parquet")


def load(options: Mapping[str, Any]) -> Dataset:
    """The images that the table in `data.path` names."""
    return image_dataset(options, listing(options))


def files(options: Mapping[str, Any]) -> Listing:
    """The files that `data.table.file` names, or else those in the class folders of `data.path`."""
    return listing(options) if options["table"]["file"] else folder.listing(options)


def listing(options: Mapping[str, Any]) -> Listing:
    """The rows of the table whose file exists and whose label is known; see `config.data.table` for the columns.

    Raises:
      UserError: no table, no or two columns for the same thing, a value out of range, or, unless `on_bad` is "skip",
        a row without label or file.
    """
    wanted, root = options["table"], Path(options["path"])
    tables = _table_files(root, wanted["file"])
    root = root if root.is_dir() else root.parent
    frame = pd.concat([read(file) for file in tables], ignore_index=True)
    where = tables[0].name
    frame, columns = _columns(frame, wanted, root, where)
    classes, labels = _labels(frame, columns, where)
    pattern = None if wanted["group_column"] else group_pattern(options)
    finder = Finder(root, tables[0].parent)
    splits = _splits(frame, columns, where)
    boxes = _boxes(root, wanted["boxes"], columns, finder)
    entries: dict[str, Entry] = {}
    bad: list[Skipped] = []
    rows = zip(frame.to_dict("records"), labels, splits, strict=True)
    for row, label, split in progress.track(rows, f"finding the images of {where}", len(frame)):
        value = row[columns.path]
        path = finder.find(value)
        if label is None or path is None:
            bad.append(Skipped(value, f"no {columns.label!r} in its row of {where}" if path else finder.why_not(value)))
            continue
        image_id = finder.relative(path)
        if image_id in entries:
            bad.append(Skipped(value, f"a second row of {where} names this file"))
            continue
        mask_name = row[columns.mask] if columns.mask else ""
        mask = finder.find(mask_name) if mask_name else None
        if mask_name and mask is None:
            bad.append(Skipped(value, f"its mask {mask_name} does not exist"))
            continue
        group = row[columns.group] or image_id if columns.group else None
        group = group_of(pattern, image_id) if pattern else group
        facts = {name: row[name] for name in columns.subgroups}
        entries[image_id] = Entry(path, image_id, label, group, split, mask, facts, boxes.get(path, ()))
    skipped = drop(bad, options["on_bad"], where)
    if lost := len(boxes.keys() - {entry.path for entry in entries.values()}):
        progress.message(f"The boxes of {lost} images are not used: {where} names no such images.")
    ordered = sorted(entries.values(), key=lambda entry: natural(entry.image_id))
    multilabel = bool(columns.findings)
    if not multilabel:
        _check_classes(classes, ordered, where)
    return Listing(classes, tuple(ordered), "multilabel" if multilabel else "single", columns.ordinal, skipped)


def _table_files(root: Path, file: str) -> list[Path]:
    if root.is_file():
        return [root]
    if file:
        return [_named(root, file, "file")]
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in _SUFFIXES)
    kinds = {path: _recognise(read(path, rows=0).columns) for path in tables}
    known = [path for path in tables if kinds[path]]
    chexpert = [path for path in known if kinds[path] == "chexpert"]  # train.csv and valid.csv
    if len(known) == 1 or known and known == chexpert:
        return known
    if len(tables) == 1:
        return tables
    names = ", ".join(path.name for path in known or tables) or "no CSV or Parquet file"
    raise UserError(f"data.path={str(root)!r} holds {names}; name the one with the labels by data.table.file")


def _named(root: Path, file: str, field: str) -> Path:
    found = next((path for path in (root / file, Path(file).expanduser()) if path.is_file()), None)
    if found is None:
        raise UserError(f"data.table.{field}={file!r} is neither in data.path={str(root)!r} nor a path of its own")
    return found


def _boxes(root: Path, file: str, columns: Columns, finder: Finder) -> dict[Path, Boxes]:
    """By image, from the file that the config names, or the one that comes with a known table."""
    if file:
        return boxes_of(_named(root, file, "boxes"), finder)
    usual = root / columns.boxes
    return boxes_of(usual, finder) if columns.boxes and usual.is_file() else {}


def _recognise(columns: Iterable[str]) -> str | None:
    return next((name for name, table in KNOWN_TABLES.items() if table.needs <= set(columns)), None)


def _columns(frame: pd.DataFrame, wanted: Mapping[str, Any], root: Path, where: str) -> tuple[pd.DataFrame, Columns]:
    """Settles what each column means: what the config says, else what a known table or a common name says."""
    named = {key: wanted[f"{key}_column"] for key in ("path", "label", "group", "split", "mask")}
    findings, subgroups = tuple(wanted["finding_columns"]), tuple(wanted["subgroup_columns"])
    for column in (*filter(None, named.values()), *findings, *subgroups):
        if column not in frame:
            raise UserError(f"{where} has no column {column!r}.{did_you_mean(column, frame.columns)}")
    if named["label"] and findings:
        raise UserError("data.table: label_column and finding_columns are both set; choose one of them")
    format_name = _recognise(frame.columns) if wanted["format"] == "auto" else wanted["format"]
    if format_name not in (None, "plain", *KNOWN_TABLES):
        hint = did_you_mean(format_name, ["plain", *KNOWN_TABLES])
        raise UserError(f"data.table.format={format_name!r} is unknown.{hint}")
    if format_name in KNOWN_TABLES:
        known = KNOWN_TABLES[format_name]
        if missing := sorted(known.needs - set(frame.columns)):
            raise UserError(f"{where} is not a {format_name} table: it has no column {missing[0]!r}")
        frame = known.derive(frame, root)
        columns = _present(known.columns, frame)
    else:
        columns = Columns(
            path=named["path"] or _guess(frame, _PATH_NAMES, "path", where),
            label="" if findings else named["label"] or _guess(frame, _LABEL_NAMES, "label", where),
            group=_guess(frame, _GROUP_NAMES, "group", where, needed=False),
            split=_guess(frame, _SPLIT_NAMES, "split", where, needed=False),
            mask=_guess(frame, _MASK_NAMES, "mask", where, needed=False),
        )
    changes: dict[str, Any] = {key: column for key, column in named.items() if column}
    if findings or named["label"]:
        changes |= {"label": named["label"], "findings": findings, "separator": "", "class_names": {}}
    if subgroups:
        changes["subgroups"] = subgroups
    return frame, dataclasses.replace(columns, **changes)


def _present(columns: Columns, frame: pd.DataFrame) -> Columns:
    """A known table's columns without the optional ones that this copy of it does not have."""
    subgroups = tuple(name for name in columns.subgroups if name in frame)
    group, split = (name if name in frame else "" for name in (columns.group, columns.split))
    return dataclasses.replace(columns, group=group, split=split, subgroups=subgroups)


def _guess(frame: pd.DataFrame, names: Sequence[str], field: str, where: str, needed: bool = True) -> str:
    fits = [column for column in frame if column.lower().replace(" ", "_") in names]
    if len(fits) > 1:
        raise UserError(
            f"{where}: columns {fits[0]!r} and {fits[1]!r} could both be the {field}; "
            f"choose one by data.table.{field}_column"
        )
    if not fits and needed:
        raise UserError(f"{where}: no column looks like the {field}; name it by data.table.{field}_column. "
                        f"Columns: {', '.join(frame.columns[:20])}")  # fmt: skip
    return fits[0] if fits else ""


def _labels(frame: pd.DataFrame, columns: Columns, where: str) -> tuple[tuple[str, ...], list[Label | None]]:
    if columns.separator:
        return columns.findings, [_named_findings(text, columns, where) for text in frame[columns.label]]
    if columns.findings:
        numbers = [_finding_values(frame[name], name, where) for name in columns.findings]
        return columns.findings, list(zip(*numbers, strict=True))
    values = frame[columns.label]
    if columns.class_names:
        if strange := sorted(set(values) - {"", *columns.class_names}):
            raise UserError(f"{where}: {columns.label} {strange[0]!r} is none of {', '.join(columns.class_names)}")
        order = list(columns.class_names)
        return tuple(columns.class_names.values()), [order.index(value) if value else None for value in values]
    order = sorted(set(values) - {""}, key=natural)
    index = {value: at for at, value in enumerate(order)}
    return tuple(order), [index.get(value) for value in values]


def _named_findings(text: str, columns: Columns, where: str) -> tuple[float, ...] | None:
    present = {name.strip() for name in text.split(columns.separator)} - {"No Finding"}
    if not text:
        return None
    if strange := sorted(present - set(columns.findings)):
        raise UserError(f"{where}: {columns.label} names {strange[0]!r}.{did_you_mean(strange[0], columns.findings)}")
    return tuple(float(name in present) for name in columns.findings)


def _finding_values(column: pd.Series, name: str, where: str) -> list[float]:
    meaning = {"": float("nan"), "nan": float("nan"), "-1": float("nan"), "0": 0.0, "1": 1.0}
    values = [value.lower().removesuffix(".0") for value in column]
    values = [{"true": "1", "false": "0"}.get(value, value) for value in values]
    if strange := sorted(set(values) - set(meaning)):
        raise UserError(f"{where}: finding {name!r} has the value {strange[0]!r}; write 1, 0, or nothing where unknown")
    return [meaning[value] for value in values]


def _splits(frame: pd.DataFrame, columns: Columns, where: str) -> list[Any]:
    if not columns.split:
        return [None] * len(frame)
    sides = [split_of(value, f"{where}, column {columns.split!r}") for value in frame[columns.split]]
    return [None] * len(frame) if set(sides) <= {"train", None} else sides


def _check_classes(classes: Sequence[str], entries: Sequence[Entry], where: str) -> None:
    counts = Counter(entry.label for entry in entries)
    if len(counts) < 2:
        raise UserError(f"{where}: its images have only {len(counts)} class; two are needed")
    for at, name in enumerate(classes):
        if counts[at] == 1:
            raise UserError(f"{where}: class {name!r} has one image; a class needs two, to train and to test on")
