"""From the columns of a table to labels and scores: the three ways in which predictions are written down."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from attn_jax.errors import UserError
from attn_jax.evaluation.checks import SPLITS, check_ids, check_known, check_scores, place

KEYS = ("model", "seed", "dataset")
RESERVED = ("image_id", "label", "score", "positive", "group", "split", *KEYS)
SCORE, LABEL = "score_", "label_"
_WHOLE = re.compile(r"-?\d+\.0+")
_BITS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A whole table, checked; `keys` [N] tells which model, seed and data set a row belongs to.

    `assumed`: nobody named the positive of two classes, so it is the second.
    """

    image_id: np.ndarray
    label: Int[np.ndarray, "N"] | Float[np.ndarray, "N K"]
    score: Float[np.ndarray, "N K"]
    classes: tuple[str, ...]
    kind: str
    positive: int | None
    assumed: bool
    group: np.ndarray | None
    split: np.ndarray
    keys: list[tuple[str, str, str]]
    columns: pd.DataFrame | None


def parse(frame: pd.DataFrame, positive: str = "") -> Parsed:
    """Reads every column of a table of predictions; `positive` names the positive of two classes.

    Raises:
        UserError: a missing column or a bad value, named by column and row.
    """
    if frame.columns.has_duplicates:
        raise UserError(f"column {frame.columns[frame.columns.duplicated()][0]!r} stands twice")
    if "image_id" not in frame:
        raise UserError(f"no column 'image_id'; found: {', '.join(map(str, frame.columns))}")
    if frame.empty:
        raise UserError("no row of predictions")
    ids = names(frame["image_id"])
    parts = [names(frame[name]) if name in frame else [""] * len(ids) for name in KEYS]
    keys = list(zip(*parts, strict=True))
    check_ids(ids, keys)
    label, score, classes, kind, index, used = _labels_and_scores(frame, ids, positive)
    others = [name for name in frame if name not in RESERVED and name not in used]
    return Parsed(
        image_id=np.array(ids),
        label=label,
        score=score,
        classes=classes,
        kind=kind,
        positive=index,
        assumed=index is not None and SCORE.rstrip("_") not in used and not _named_positive(frame, positive),
        # A patient nobody named stands alone: one big "unknown" patient would tie strangers together.
        group=np.array([g or i for g, i in zip(names(frame["group"]), ids, strict=True)]) if "group" in frame else None,
        split=_split(frame, ids),
        keys=keys,
        columns=pd.DataFrame({name: names(frame[name]) for name in others}) if others else None,
    )


def text(column: pd.Series) -> list[str]:
    """A column's values as strings; missing ones are empty."""
    missing = column.isna().to_numpy()
    return ["" if gone else str(value).strip() for value, gone in zip(column.tolist(), missing, strict=True)]


def names(column: pd.Series) -> list[str]:
    """`text` of names: where all are whole floats, as a column of integers with gaps is stored, they are integers."""
    words = text(column)
    known = [word for word in words if word]
    if not known or not all(_WHOLE.fullmatch(word) for word in known):
        return words
    return [word.partition(".")[0] for word in words]


def _numbers(column: pd.Series, ids: Sequence[str]) -> Float[np.ndarray, "N"]:
    """A column's values as float64, exactly as they are written; missing ones are NaN."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = np.empty(len(column))
    for row, word in enumerate(text(column)):
        try:
            values[row] = float(word or "nan")
        except ValueError:
            raise UserError(f"{place(str(column.name), row, ids[row])}: {word!r} is no number") from None
    return values


def _split(frame: pd.DataFrame, ids: Sequence[str]) -> np.ndarray:
    if "split" not in frame:
        return np.full(len(ids), "test")
    split = np.array(text(frame["split"]))
    check_known(split, np.isin(split, SPLITS), "split", ids, f"the splits are {', '.join(SPLITS)}")
    return split


def _labels_and_scores(frame: pd.DataFrame, ids: Sequence[str], positive: str):
    """`(label, score, classes, kind, positive index, columns used)`."""
    scores = [name for name in frame if name.startswith(SCORE)]
    for nameless in (SCORE, LABEL):
        if nameless in frame:
            raise UserError(f"column {nameless!r} names no class; write '{nameless}<class>'")
    if "label" not in frame:
        findings = [name.removeprefix(LABEL) for name in frame if name.startswith(LABEL)]
        if not findings:
            raise UserError("no column 'label', nor any 'label_<finding>'")
        return _findings(frame, ids, findings, scores)
    if "score" in frame and scores:
        raise UserError(
            f"columns 'score' and {scores[0]!r}: give one 'score' (two classes) or one 'score_<class>' each"
        )
    if "score" in frame:
        label, classes, index = _two_classes(frame, ids, positive)
        score = _numbers(frame["score"], ids)
        check_scores(score[:, None], ["score"], ids, exclusive=False)
        return label, np.stack([1 - score, score], axis=1), classes, "single", index, ["score"]
    if len(scores) < 2:
        raise UserError("no scores: give one column 'score' (two classes) or one 'score_<class>' for each class")
    classes = tuple(name.removeprefix(SCORE) for name in scores)
    score = np.stack([_numbers(frame[name], ids) for name in scores], axis=1)
    check_scores(score, scores, ids, exclusive=True)
    named = _named_positive(frame, positive)
    if named and named not in classes:
        raise UserError(f"the positive class {named!r} is none of {', '.join(classes)}")
    index = (classes.index(named) if named else 1) if len(classes) == 2 else None
    return _class_indices(frame, ids, classes), score, classes, "single", index, scores


def _named_positive(frame: pd.DataFrame, positive: str) -> str:
    if positive or "positive" not in frame:
        return positive
    named = sorted(set(text(frame["positive"])))
    if len(named) > 1:
        raise UserError(f"column 'positive' names several classes: {', '.join(named)}")
    return named[0]


def _class_indices(frame: pd.DataFrame, ids: Sequence[str], classes: tuple[str, ...]) -> Int[np.ndarray, "N"]:
    """Labels are names; where they are not all names, whole floats count as integers, and all may be indices."""
    words = np.array(text(frame["label"]))
    if not np.isin(words, classes).all():
        words = np.array(names(frame["label"]))
    known = {name: index for index, name in enumerate(classes)}
    if not np.isin(words, classes).all():
        indices = {str(index): index for index in range(len(classes))}
        known = indices if np.isin(words, list(indices)).mean() > np.isin(words, classes).mean() else known
    check_known(
        words, np.isin(words, list(known)), "label", ids, f"the score columns' classes are {', '.join(classes)}"
    )
    return np.array([known[word] for word in words], dtype=np.int64)


def _two_classes(frame: pd.DataFrame, ids: Sequence[str], positive: str):
    """`(label, classes, index of the positive)`, the positive class second."""
    words = text(frame["label"])
    if "" in words:
        row = words.index("")
        raise UserError(f"{place('label', row, ids[row])}: no label")
    named = _named_positive(frame, positive)
    if all(word.lower() in _BITS for word in words):
        label = np.array([_BITS[word.lower()] for word in words], dtype=np.int64)
        if _BITS.get(named.lower()) == 0:
            return 1 - label, ("1", "0"), 1
        named = "" if named.lower() in _BITS else named
        return label, (f"not {named}", named) if named else ("0", "1"), 1
    values = sorted(set(words))
    if not named:
        raise UserError(
            f"column 'label' holds {', '.join(map(repr, values[:3]))}: name the positive class in a column 'positive',"
            " or write the labels as 0 and 1"
        )
    others = [value for value in values if value != named]
    if len(others) > 1:
        row = words.index(others[1])
        raise UserError(
            f"{place('label', row, ids[row])}: {others[1]!r} is a third class beside {named!r} and {others[0]!r};"
            " one 'score' column is for two"
        )
    classes = (others[0] if others else f"not {named}", named)
    return np.array([classes.index(word) for word in words], dtype=np.int64), classes, 1


def _findings(frame: pd.DataFrame, ids: Sequence[str], findings: list[str], scores: list[str]):
    for name in findings:
        if SCORE + name not in frame:
            raise UserError(f"no column '{SCORE}{name}' beside '{LABEL}{name}'")
    for name in scores:
        if name.removeprefix(SCORE) not in findings:
            raise UserError(f"no column '{LABEL}{name.removeprefix(SCORE)}' beside {name!r}")
    ordered = [SCORE + name for name in findings]
    score = np.stack([_numbers(frame[name], ids) for name in ordered], axis=1)
    check_scores(score, ordered, ids, exclusive=False)
    label = np.stack([_numbers(frame[LABEL + name], ids) for name in findings], axis=1)
    for k, name in enumerate(findings):
        known = np.isin(label[:, k], (0, 1)) | np.isnan(label[:, k])
        check_known(label[:, k], known, LABEL + name, ids, "a finding is 0, 1 or empty (unknown)")
    return label, score, tuple(findings), "multilabel", None, [*ordered, *(LABEL + name for name in findings)]
