"""Predictions and results as they are stored: the interface between whoever predicts and everything that judges.

A table of predictions (CSV or Parquet) has one row an image: `image_id`; `label` (a class's name or index) and one
`score_<class>` each, or `label` and `score` (of the positive) for two classes, or `label_<finding>` (empty: unknown)
and `score_<finding>`; all scores are probabilities. Optional: `group` (patient), `split` (none: all test), `model`,
`seed`, `dataset`, and `positive` (the name of the positive of two classes; else the second). Others are subgroups.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from attn_jax.errors import UserError
from attn_jax.evaluation.checks import SPLITS, check_ids, check_known, check_scores
from attn_jax.evaluation.columns import KEYS, LABEL, RESERVED, SCORE, parse
from attn_jax.evaluation.files import read_frame, write_frame


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What one model said about images, and the truth.

    `label` holds class indices [N] (kind `"single"`), or 0, 1 and NaN (unknown) [N, K] (`"multilabel"`); `score`
    probabilities [N, K]. `positive` is the index of the positive of two classes: the second unless told (`assumed`: a
    file did not tell). Without `split` every image is a test image.

    Raises:
        UserError: a score that is no probability, an unknown label or split, an image twice.
        ValueError: arrays of different lengths.
    """

    image_id: np.ndarray
    label: np.ndarray
    score: np.ndarray
    classes: tuple[str, ...]
    kind: str = "single"
    positive: int | None = None
    group: np.ndarray | None = None
    split: np.ndarray = None  # type: ignore[assignment]  # an array once made
    model: str = ""
    seed: str = ""
    dataset: str = ""
    columns: pd.DataFrame | None = None
    assumed: bool = False

    def __post_init__(self) -> None:
        ids = np.asarray(self.image_id).astype(str)
        single = self.kind == "single"
        values: dict[str, Any] = {
            "image_id": ids,
            "classes": tuple(self.classes),
            **{name: str(getattr(self, name)) for name in KEYS},
            "label": np.asarray(self.label).astype(np.int64 if single else np.float64),
            "score": np.asarray(self.score).astype(np.float64),
            "split": np.full(len(ids), "test") if self.split is None else np.asarray(self.split).astype(str),
            "group": None if self.group is None else np.asarray(self.group).astype(str),
            "positive": 1 if self.positive is None and single and len(self.classes) == 2 else self.positive,
            "columns": None,
        }
        if self.columns is not None and self.columns.shape[1]:
            values["columns"] = self.columns.reset_index(drop=True)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        count, classes = len(self.image_id), len(self.classes)
        wanted = (count,) if self.kind == "single" else (count, classes)
        if self.kind not in ("single", "multilabel"):
            raise ValueError(f"kind {self.kind!r} is neither 'single' nor 'multilabel'")
        if self.label.shape != wanted or self.score.shape != (count, classes):
            raise ValueError(f"{count} images, {classes} classes: labels {self.label.shape}, scores {self.score.shape}")
        for name, value in (("split", self.split), ("group", self.group), ("columns", self.columns)):
            if value is not None and len(value) != count:
                raise ValueError(f"{count} images, but {name} has {len(value)} rows")
        clash = [] if self.columns is None else [name for name in self.columns if self._is_own(str(name))]
        if clash:
            raise UserError(f"subgroup column {clash[0]!r} has a name that predictions use themselves; rename it")
        check_ids(self.image_id.tolist())
        check_scores(
            self.score, [SCORE + name for name in self.classes], self.image_id, exclusive=self.kind == "single"
        )
        check_known(self.split, np.isin(self.split, SPLITS), "split", self.image_id, f"known: {', '.join(SPLITS)}")
        if self.kind == "single":
            known = (self.label >= 0) & (self.label < classes)
            check_known(self.label, known, "label", self.image_id, f"class indices are 0 .. {classes - 1}")
        else:
            rows = (np.isin(self.label, (0, 1)) | np.isnan(self.label)).all(axis=1)
            check_known(self.label, rows, "label", self.image_id, "findings are 0, 1 or NaN (unknown)")

    def _is_own(self, column: str) -> bool:
        prefixes = (SCORE,) if self.kind == "single" else (SCORE, LABEL)
        return column in RESERVED or column.startswith(prefixes)

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def binary(self) -> bool:
        """Whether each image is of one of two classes."""
        return self.kind == "single" and len(self.classes) == 2

    def rows(self, which: np.ndarray) -> "Predictions":
        """The predictions of some rows: indices or a mask [N]."""
        fields = {name: getattr(self, name) for name in ("image_id", "label", "score", "split", "group")}
        chosen: dict[str, Any] = {name: None if value is None else value[which] for name, value in fields.items()}
        return dataclasses.replace(self, **chosen, columns=None if self.columns is None else self.columns.iloc[which])

    def part(self, split: str) -> "Predictions":
        """The predictions of one split."""
        return self.rows(self.split == split)

    def decisions(self, thresholds: Mapping[str, float]) -> Int[np.ndarray, "N"] | Bool[np.ndarray, "N K"]:
        """Decided classes [N], or findings [N, K].

        Of two classes it is the positive one where its score reaches `thresholds[name]` (0.5 where there is none), each
        finding likewise; of more classes it is the one with the highest score, whatever the thresholds.
        """
        limits = np.array([thresholds.get(name, 0.5) for name in self.classes])
        if self.kind == "multilabel":
            return self.score >= limits
        if self.positive is None:
            return self.score.argmax(axis=1)
        reached = self.score[:, self.positive] >= limits[self.positive]
        return np.where(reached, self.positive, 1 - self.positive)

    def outcomes(self) -> dict[str, tuple[Bool[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
        """`(is it so, score)` of each yes-or-no question: the positive of two classes, each of more classes against
        the rest, each finding where its label is known."""
        if self.kind == "multilabel":
            known = ~np.isnan(self.label)
            pairs = [(self.label[known[:, k], k] == 1, self.score[known[:, k], k]) for k in range(len(self.classes))]
            return dict(zip(self.classes, pairs, strict=True))
        asked = range(len(self.classes)) if self.positive is None else [self.positive]
        return {self.classes[k]: (self.label == k, self.score[:, k]) for k in asked}


@dataclasses.dataclass(frozen=True)
class Result:
    """What predictions are worth. None is an undefined number, and `undefined` says why, by metric.

    `undefined` also has `"threshold"` where 0.5 had to do, and `"<metric>/<class>"` for one class's number.
    `confusion[i][j]` counts test images of class i that were taken for j (none for findings). `images` counts the test
    images; `test_set` is a digest of their ids and labels: results with different ones must not be averaged.
    """

    metrics: dict[str, float | None]
    undefined: dict[str, str]
    thresholds: dict[str, float]
    per_class: dict[str, dict[str, float | None]]
    confusion: list[list[int]] | None
    images: int = 0
    test_set: str = ""

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`; `from_json` gives the same result back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Result":
        """The result that `to_json` stored."""
        return cls(**stored)


def read(path: str | os.PathLike[str], *, positive: str = "") -> Predictions:
    """The predictions of a file that holds one model, seed and data set; see `read_all`."""
    found = read_all(path, positive=positive)
    if len(found) > 1:
        names = [" / ".join(filter(None, (p.model, p.seed, p.dataset))) for p in found[:3]]
        raise UserError(f"{path}: holds predictions of {len(found)} models, seeds or data sets ({', '.join(names)} ..)")
    return found[0]


def read_all(path: str | os.PathLike[str], *, positive: str = "") -> list[Predictions]:
    """All predictions of a CSV or Parquet file, one for each model, seed and data set, in the order of the file.

    Args:
        path: the file; `.csv`, `.parquet` or `.pq`.
        positive: name of the positive of two classes, where the file does not say it.

    Raises:
        UserError: the file cannot be read or breaks the format; the line names file, column and row.
    """
    path = pathlib.Path(path)
    frame = read_frame(path)
    try:
        table = parse(frame, positive)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    rows: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(table.keys):
        rows.setdefault(key, []).append(row)
    fields = {name: getattr(table, name) for name in ("image_id", "label", "score", "split", "group")}
    found = []
    for key, at in rows.items():
        some: dict[str, Any] = {name: None if value is None else value[at] for name, value in fields.items()}
        some |= {"classes": table.classes, "kind": table.kind, "positive": table.positive}
        some["assumed"] = table.assumed
        some |= {"columns": None if table.columns is None else table.columns.iloc[at]}
        found.append(Predictions(**some, model=key[0], seed=key[1], dataset=key[2]))
    return found


def write(path: str | os.PathLike[str], predictions: Predictions) -> None:
    """Writes predictions as CSV or Parquet, whole or not at all; `read` gives the same numbers back to the last bit."""
    write_frame(pathlib.Path(path), to_frame(predictions))


def to_frame(predictions: Predictions) -> pd.DataFrame:
    """Predictions as a table, in the file's columns."""
    table = predictions
    columns: dict[str, Any] = {"image_id": table.image_id}
    if table.kind == "single":
        columns["label"] = np.array(table.classes)[table.label]
    else:
        columns |= {LABEL + name: table.label[:, k] for k, name in enumerate(table.classes)}
    columns |= {SCORE + name: table.score[:, k] for k, name in enumerate(table.classes)}
    if table.positive is not None and not table.assumed:
        columns["positive"] = table.classes[table.positive]
    columns |= {} if table.group is None else {"group": table.group}
    columns["split"] = table.split
    columns |= {name: value for name in KEYS if (value := getattr(table, name))}
    columns |= {} if table.columns is None else {str(name): table.columns[name].to_numpy() for name in table.columns}
    return pd.DataFrame(columns)


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of the same model about different images, one after the other; names are the first one's."""
    first = parts[0]
    for other in parts[1:]:
        if (other.classes, other.kind, other.positive) != (first.classes, first.kind, first.positive):
            raise UserError(
                f"predictions of different classes: {', '.join(first.classes)}, and {', '.join(other.classes)}"
            )
    names = ("image_id", "label", "score", "split")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    if any(part.group is not None for part in parts):
        joined["group"] = np.concatenate([part.image_id if part.group is None else part.group for part in parts])
    if any(part.columns is not None for part in parts):
        frames = [pd.DataFrame(index=range(len(p))) if p.columns is None else p.columns for p in parts]
        table = pd.concat(frames, ignore_index=True)
        joined["columns"] = table.astype(object).where(table.notna(), "")
    return dataclasses.replace(first, **joined)
