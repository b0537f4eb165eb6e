"""Reads a table without guessing what its values are."""

from pathlib import Path

import pandas as pd

from attn_jax.errors import UserError


def read(file: Path, rows: int | None = None) -> pd.DataFrame:
    """A CSV or Parquet file with every value as text, blank where there is none, whole numbers without a point.

    With `rows`, at most so many rows of a CSV.
    """
    try:
        if file.suffix.lower() == ".parquet":
            frame = pd.read_parquet(file)
        else:
            frame = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig", nrows=rows)
    except (OSError, ValueError) as error:
        raise UserError(f"data.table.file: {file} cannot be read: {' '.join(str(error).split())[:150]}") from error
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame.apply(_as_text)


def _as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "").map(lambda value: str(value).strip())
