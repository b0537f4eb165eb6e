"""Tables on disk: CSV and Parquet, read whole with each mishap in one line, and written whole or not at all."""

import csv
import os
import pathlib
import re

import pandas as pd
import pyarrow.parquet

from attn_jax.errors import UserError

_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


def read_frame(path: pathlib.Path) -> pd.DataFrame:
    """The columns of a `.csv`, `.parquet` or `.pq` file, but for row numbers; those of a CSV hold strings as written.

    Raises:
        UserError: no such file, another format, a broken or empty file, a row of another length than the header.
    """
    kind = _format(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if kind == "parquet":
            return _without_index(pyarrow.parquet.read_table(path).to_pandas(ignore_metadata=True))
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as {kind}: {str(error).splitlines()[0]}") from None
    if not lines:
        raise UserError(f"{path}: is empty")
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    for number, line in enumerate(rows, start=1):
        if len(line) != len(header):
            raise UserError(f"{path}: row {number} has {len(line)} values, but the header names {len(header)} columns")
    return _without_index(pd.DataFrame(rows, columns=header, dtype=str))


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns in which pandas stores row numbers: they are no groups of images."""
    return frame.loc[:, [_INDEX.fullmatch(str(name)) is None for name in frame.columns]]


def write_frame(path: pathlib.Path, frame: pd.DataFrame) -> None:
    """Writes the table in the format that the name's end says; a reader never sees half a file."""
    kind = _format(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    if kind == "csv":
        frame.to_csv(partial, index=False, lineterminator="\n")
    else:
        frame.to_parquet(partial, index=False)
    os.replace(partial, path)


def _format(path: pathlib.Path) -> str:
    formats = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
    if path.suffix.lower() not in formats:
        raise UserError(f"{path}: predictions are .csv or .parquet files")
    return formats[path.suffix.lower()]
