"""Models that judged the same images: what every comparison starts from."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped

from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation.records import Predictions, concatenate
from attn_jax.evaluation.replicates import clusters
from attn_jax.evaluation.thresholds import choose


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One model trained once: its test predictions, and what was chosen on its validation images.

    `rows` are the places of its test images among the panel's where it judged only these (a fold); None: all.
    """

    test: Predictions
    validation: Predictions
    thresholds: Mapping[str, float]
    rows: Int[np.ndarray, "judged"] | None = None

    def seen(self, images: Shaped[np.ndarray, "... images"]) -> Shaped[np.ndarray, "... judged"]:
        """Of something about the panel's images (the last axis) what is about this run's."""
        return images if self.rows is None else images[..., self.rows]

    @property
    def right(self) -> Bool[np.ndarray, "judged"]:
        """Whether each decision is right, of classes."""
        return self.test.decisions(self.thresholds) == self.test.label


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """`runs[model][seed]`, all on the same test images in the same order; `cluster` tells which patient an image shows.

    `label` is as in `Predictions`. Where no file names patients, `patients` is None and each image is taken for a
    patient of its own.
    """

    dataset: str
    image_id: np.ndarray
    label: np.ndarray
    cluster: Int[np.ndarray, "images"]
    patients: int | None
    columns: pd.DataFrame | None
    runs: Mapping[str, Mapping[str, Run]]
    left_out: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        """Their names, in the order of the files."""
        return tuple(self.runs)

    @property
    def first(self) -> Predictions:
        """Any run's test predictions: for the classes and labels, which all runs share."""
        return next(iter(next(iter(self.runs.values())).values())).test

    def shared(self, first: str, second: str) -> tuple[str, ...]:
        """The seeds that both models have."""
        return tuple(seed for seed in self.runs[first] if seed in self.runs[second])

    @property
    def positives(self) -> int | None:
        """How many images are positive, of two classes."""
        return int((self.label == self.first.positive).sum()) if self.first.binary else None

    @property
    def whole(self) -> bool:
        """Whether every run judged all images."""
        return all(run.rows is None for runs in self.runs.values() for run in runs.values())

    def check(self, model: str) -> str:
        """The model's name, if the panel has it.

        Raises:
            UserError: it has not.
        """
        if model not in self.runs:
            raise UserError(
                f"no predictions of a model {model!r} on {self.dataset or 'these images'}."
                f"{did_you_mean(model, self.runs)}"
            )
        return model


def panels(sources: Sequence[tuple[str, Predictions]], *, common: bool = False) -> list[Panel]:
    """One panel for each data set.

    Args:
        sources: where predictions come from, for messages, and the predictions; a model without a name has that of its
            source, a run without a seed is the model's only one.
        common: compare on the test images that all have, where some lack some.

    Raises:
        UserError: images are missing from a source and `common` is not set, labels or classes differ, a run stands
            twice, or no image is left.
    """
    datasets: dict[str, list[tuple[str, Predictions]]] = {}
    for source, predictions in sources:
        datasets.setdefault(predictions.dataset, []).append((source, predictions))
    return [_panel(dataset, found, common) for dataset, found in datasets.items()]


def of_folds(dataset: str, runs: Mapping[str, Mapping[str, Predictions]]) -> Panel:
    """The panel of `runs[model][seed]` whose test images may differ from seed to seed, as those of folds do, but not
    from model to model.

    Raises:
        UserError: an image has another label, or another patient, in another run.
    """
    tests = [run.part("test") for of in runs.values() for run in of.values()]
    seen: set[str] = set()
    parts = []
    for test in tests:
        parts.append(test.rows(~np.isin(test.image_id, list(seen))))
        seen |= set(test.image_id.tolist())
    whole = concatenate(parts)
    place = {image: row for row, image in enumerate(whole.image_id.tolist())}
    found: dict[str, dict[str, Run]] = {}
    for model, of in runs.items():
        for seed, predictions in of.items():
            test = predictions.part("test")
            at = np.array([place[image] for image in test.image_id.tolist()])
            test, rows = test.rows(np.argsort(at)), np.sort(at)
            _same_labels(f"{model}, {seed}", test, "another run", whole.rows(rows))
            validation = predictions.part("val")
            some = None if len(rows) == len(whole) else rows
            found.setdefault(model, {})[seed] = Run(test, validation, choose(validation)[0], some)
    patients = None if whole.group is None else len(set(whole.group.tolist()))
    cluster = clusters(whole.group, len(whole))
    return Panel(dataset, whole.image_id, whole.label, cluster, patients, whole.columns, found)


def _panel(dataset: str, sources: list[tuple[str, Predictions]], common: bool) -> Panel:
    tests = [(source, predictions.part("test")) for source, predictions in sources]
    first_source, first = tests[0]
    for source, test in tests:
        if not len(test):
            raise UserError(f"{source}: no test image (column 'split' says test for none)")
        if (test.kind, test.classes, test.positive) != (first.kind, first.classes, first.positive):
            raise UserError(
                f"{source}: its classes are {', '.join(test.classes)} (positive: {_positive(test)}), but those of"
                f" {first_source} are {', '.join(first.classes)} (positive: {_positive(first)})"
            )
    everything = list(dict.fromkeys(image for _, test in tests for image in test.image_id.tolist()))
    kept = set(everything)
    for source, test in tests:
        missing = len(everything) - len(test)
        if missing and not common:
            lost = next(image for image in everything if image not in set(test.image_id.tolist()))
            raise UserError(
                f"{source}: lacks {missing} of the {len(everything)} test images that others have"
                f" ({lost!r} first); --common compares on those that all have"
            )
        kept &= set(test.image_id.tolist())
    if not kept:
        raise UserError(f"no test image is in all of {', '.join(source for source, _ in tests)}")
    ids = np.array([image for image in everything if image in kept])
    runs: dict[str, dict[str, Run]] = {}
    known: dict[tuple[str, str], str] = {}
    ordered: list[tuple[str, Predictions]] = []
    for (source, predictions), (_, test) in zip(sources, tests, strict=True):
        place = {image: row for row, image in enumerate(test.image_id.tolist())}
        rows = test.rows(np.array([place[image] for image in ids.tolist()]))
        _same_labels(source, rows, first_source, ordered[0][1] if ordered else rows)
        ordered.append((source, rows))
        name = (predictions.model or source, predictions.seed)
        if name in known:
            raise UserError(
                f"{source}: model {name[0]!r}{f', seed {name[1]}' if name[1] else ''} stands already in {known[name]};"
                " tell them apart in the columns 'model' and 'seed'"
            )
        known[name] = source
        validation = predictions.part("val")
        runs.setdefault(name[0], {})[name[1]] = Run(rows, validation, choose(validation)[0])
    group = _group(ordered)
    columns = next((rows.columns for _, rows in ordered if rows.columns is not None), None)
    patients = None if group is None else len(set(group.tolist()))
    label = ordered[0][1].label
    return Panel(dataset, ids, label, clusters(group, len(ids)), patients, columns, runs, len(everything) - len(ids))


def _positive(test: Predictions) -> str:
    return "none" if test.positive is None else test.classes[test.positive]


def _same_labels(source: str, rows: Predictions, first_source: str, first: Predictions) -> None:
    same = np.array_equal(rows.label, first.label, equal_nan=rows.kind == "multilabel")
    if not same:
        differs = (rows.label != first.label) & ~(np.isnan(rows.label) & np.isnan(first.label))
        row = int(np.argwhere(differs.reshape(len(rows), -1).any(axis=1))[0, 0])
        raise UserError(f"{source}: the label of image {str(rows.image_id[row])!r} is not that of {first_source}")


def _group(ordered: list[tuple[str, Predictions]]) -> np.ndarray | None:
    """The patients, told by every source that tells them alike."""
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
