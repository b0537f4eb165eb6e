"""Predictions of several models brought to the same classes, labels, patients and columns, or refused in one line."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from attn_jax.errors import UserError
from attn_jax.evaluation.records import Predictions

Sources = Sequence[tuple[str, Predictions]]
Parts = Sequence[tuple[str, Predictions, Int[np.ndarray, "judged"]]]
"""Sources, what they predicted, and the places of their images among all."""


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


def same_patients(parts: Parts, images: int) -> np.ndarray | None:
    """The patients of the images, told by every source that tells them alike; None where none does. An image of which
    none tells the patient is one of its own.

    Raises:
        UserError: sources group the images otherwise.
    """
    if all(predictions.group is None for _, predictions, _ in parts):
        return None
    found: list[str | None] = [None] * images
    tellers: list[str] = [""] * images
    for source, predictions, rows in parts:
        if predictions.group is None:
            continue
        told = dict(zip(rows.tolist(), predictions.group.tolist(), strict=True))
        pairs = {(found[row], name) for row, name in told.items() if found[row] is not None}
        if any(len({pair[side] for pair in pairs}) < len(pairs) for side in (0, 1)):
            first = next(tellers[row] for row in told if found[row] is not None)
            raise UserError(f"{source}: images are grouped by patient otherwise than in {first} (column 'group')")
        called = {name: of for of, name in pairs}
        for row, name in told.items():
            if found[row] is None:
                found[row], tellers[row] = called.get(name, name), source
    return np.array([f"image {row} alone" if name is None else name for row, name in enumerate(found)])


def same_columns(parts: Parts, images: int) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """One table of what sources tell about the images, and notes.

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
