"""Predictions of several models brought to the same classes, labels, patients and columns, or refused in one line."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from attn_jax.errors import UserError
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.replicates import clusters

Sources = Sequence[tuple[str, Predictions]]


def same_classes(sources: Sources) -> list[tuple[str, Predictions]]:
    """The predictions of one data set with their classes in the order of the first.

    Classes are told by name, so that the order of columns decides nothing; where no source names the positive of two
    classes, it is the second of the first source.

    Raises:
        UserError: the names differ, or the positives that sources name.
    """
    first_source, first = sources[0]
    teller, told = next(((s, p) for s, p in sources if not p.assumed), sources[0])
    found = []
    for source, predictions in sources:
        same = predictions.kind == first.kind and sorted(predictions.classes) == sorted(first.classes)
        if not same or not (predictions.assumed or _positive(predictions) == _positive(told)):
            other, known = (first_source, first) if not same else (teller, told)
            raise UserError(
                f"{source}: its classes are {', '.join(predictions.classes)} (positive: {_positive(predictions)}), but"
                f" those of {other} are {', '.join(known.classes)} (positive: {_positive(known)})"
            )
        found.append((source, _ordered(predictions, first.classes, told)))
    return found


def _positive(test: Predictions) -> str:
    return "none" if test.positive is None else test.classes[test.positive]


def _ordered(predictions: Predictions, classes: tuple[str, ...], told: Predictions) -> Predictions:
    index = None if told.positive is None else classes.index(_positive(told))
    if predictions.assumed and index is not None:
        own = predictions.classes.index(_positive(told))
        predictions = dataclasses.replace(predictions, positive=own, assumed=told.assumed)
    at = np.array([predictions.classes.index(name) for name in classes])
    if (at == np.arange(len(at))).all():
        return predictions
    label = np.argsort(at)[predictions.label] if predictions.kind == "single" else predictions.label[:, at]
    score = predictions.score[:, at]
    return dataclasses.replace(predictions, classes=classes, label=label, score=score, positive=index)


def same_labels(source: str, rows: Predictions, first_source: str, first: Predictions) -> None:
    """Checks the same images of two sources.

    Raises:
        UserError: an image has another label.
    """
    same = np.array_equal(rows.label, first.label, equal_nan=rows.kind == "multilabel")
    if not same:
        differs = (rows.label != first.label) & ~(np.isnan(rows.label) & np.isnan(first.label))
        row = int(np.argwhere(differs.reshape(len(rows), -1).any(axis=1))[0, 0])
        raise UserError(f"{source}: the label of image {str(rows.image_id[row])!r} is not that of {first_source}")


def same_patients(ordered: Sources) -> np.ndarray | None:
    """The patients of the same images, told by every source that tells them alike; None where none does.

    Raises:
        UserError: sources group the images otherwise.
    """
    named = [(source, rows) for source, rows in ordered if rows.group is not None]
    if not named:
        return None
    source, first = named[0]
    assert first.group is not None
    for other, rows in named[1:]:
        assert rows.group is not None
        if not np.array_equal(clusters(first.group, len(first)), clusters(rows.group, len(rows))):
            raise UserError(f"{other}: images are grouped by patient otherwise than in {source} (column 'group')")
    return first.group


def same_columns(
    parts: Sequence[tuple[str, Predictions, Int[np.ndarray, "judged"]]], images: int
) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """One table of what sources tell about images, and notes.

    Args:
        parts: sources, what they predicted, and the places of their images among `images`.

    A value that a source lacks another fills in. A column about which sources disagree is left out, with a note.
    """
    merged: dict[str, np.ndarray] = {}
    notes: dict[str, str] = {}
    tellers: dict[str, str] = {}
    for source, predictions, rows in parts:
        for name in () if predictions.columns is None else predictions.columns:
            values = predictions.columns[name].astype(str).to_numpy(dtype=object)  # type: ignore[index]
            known = merged.setdefault(str(name), np.full(images, "", dtype=object))[rows]
            clash = np.flatnonzero((known != "") & (values != "") & (known != values))
            first = tellers.setdefault(str(name), source)
            if len(clash):
                row = int(clash[0])
                notes.setdefault(
                    str(name),
                    f"No subgroups by {name}: image {str(predictions.image_id[row])!r} has {values[row]!r} in {source},"
                    f" but {known[row]!r} in {first}.",
                )
            merged[str(name)][rows] = np.where(known == "", values, known)
    table = pd.DataFrame({name: values for name, values in merged.items() if name not in notes})
    return (table if table.shape[1] else None), tuple(notes.values())
