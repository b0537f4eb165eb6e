"""What a table of predictions must satisfy, each breach named by column and row in one line."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from attn_jax.errors import UserError

Words = Sequence[str] | np.ndarray

SPLITS = ("train", "val", "test")
SUM_TOLERANCE = 1e-3


def place(column: str, row: int, image_id: object) -> str:
    """`column 'score_a', row 3 (image 'x.png')`; rows count from 1, without the header."""
    return f"column {column!r}, row {row + 1} (image {str(image_id)!r})"


def check_ids(ids: Sequence[str], keys: Sequence[tuple[str, ...]] | None = None) -> None:
    """No image without a name, none twice; with `keys` (model, seed, data set) none twice under one key."""
    seen: dict[tuple[str, ...], int] = {}
    for row, image_id in enumerate(ids):
        if not image_id:
            raise UserError(f"column 'image_id', row {row + 1}: no image id")
        key = (image_id, *(keys[row] if keys is not None else ()))
        if key in seen:
            within = f" of {' / '.join(filter(None, key[1:]))}" if any(key[1:]) else ""
            raise UserError(
                f"{place('image_id', row, image_id)}: the image stands already in row {seen[key] + 1}{within}"
            )
        seen[key] = row


def check_scores(score: Float[np.ndarray, "N K"], columns: Sequence[str], ids: Words, exclusive: bool) -> None:
    """Probabilities: all in [0, 1], and where the classes are `exclusive` each row sums to 1 within 0.001."""
    bad = ~((score >= 0) & (score <= 1))
    if bad.any():
        row, k = map(int, np.argwhere(bad)[0])
        value = score[row, k]
        what = "is missing" if np.isnan(value) else f"{value:g} is not in [0, 1]"
        hint = "" if np.isnan(value) else "; give probabilities (softmax or sigmoid), not logits"
        raise UserError(f"{place(columns[k], row, ids[row])}: the score {what}{hint}")
    if exclusive:
        sums = score.sum(axis=1)
        bad_rows = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
        if len(bad_rows):
            row = int(bad_rows[0])
            names = f"{columns[0]} .. {columns[-1]}"
            raise UserError(f"{place(names, row, ids[row])}: the scores sum to {sums[row]:.6g}, not 1")


def check_known(values: np.ndarray, known: Bool[np.ndarray, "N"], column: str, ids: Words, hint: str) -> None:
    """Names the first of `values` that is not `known`."""
    rows = np.flatnonzero(~known)
    if len(rows):
        row = int(rows[0])
        raise UserError(f"{place(column, row, ids[row])}: unknown {str(values[row])!r}; {hint}")
