"""Models that judged the same images: what every comparison starts from."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped

from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation import alignment
from attn_jax.evaluation.records import Predictions, concatenate, read_all
from attn_jax.evaluation.replicates import clusters
from attn_jax.evaluation.thresholds import choose


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One model trained once: its test predictions, and what was chosen on its validation images.

    `rows` are the places of its test images among the panel's where it judged only these (a fold); None: all.
    `fallback` says by class or finding why there was no threshold to choose, so that 0.5 had to do.
    """

    test: Predictions
    validation: Predictions
    thresholds: Mapping[str, float]
    rows: Int[np.ndarray, "judged"] | None = None
    fallback: Mapping[str, str] = dataclasses.field(default_factory=dict)

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
    patient of its own. `left_out` counts the test images that some models lack, `notes` says what else was done to
    bring the models together.
    """

    dataset: str
    image_id: np.ndarray
    label: np.ndarray
    cluster: Int[np.ndarray, "images"]
    patients: int | None
    columns: pd.DataFrame | None
    runs: Mapping[str, Mapping[str, Run]]
    left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Their names, in the order of the files."""
        return tuple(self.runs)

    @property
    def first(self) -> Predictions:
        """Any run's test predictions: for the classes and labels, which all runs share."""
        return next(iter(next(iter(self.runs.values())).values())).test

    def shared(self, first: str, second: str) -> tuple[str, ...]:
        """The seeds that pair them: those that both models have, but for a single one where each has several, which
        would leave out all others for a name that may be the same by chance."""
        both = tuple(seed for seed in self.runs[first] if seed in self.runs[second])
        return () if len(both) == 1 < min(len(self.runs[first]), len(self.runs[second])) else both

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


def read_models(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[str, Predictions]]:
    """All predictions of several files with the file each comes from; a model without a name is called as its file.

    Raises:
        UserError: a file cannot be read, or breaks the format.
    """
    return [
        (str(path), found if found.model else dataclasses.replace(found, model=pathlib.Path(path).stem))
        for path in paths
        for found in read_all(path)
    ]


def panels(sources: Sequence[tuple[str, Predictions]], *, common: bool = False) -> list[Panel]:
    """One panel for each data set.

    Args:
        sources: where predictions come from, for messages, and the predictions; a model without a name has that of its
            source, a run without a seed is the model's only one.
        common: compare on the test images that all have, where some lack some.

    Raises:
        UserError: images are missing from a source and `common` is not set, labels, classes or patients differ, a run
            stands twice, or no image is left.
    """
    datasets: dict[str, list[tuple[str, Predictions]]] = {}
    for source, predictions in sources:
        datasets.setdefault(predictions.dataset, []).append((source, predictions))
    return [_panel(dataset, found, common) for dataset, found in datasets.items()]


def of_folds(dataset: str, runs: Mapping[str, Mapping[str, Predictions]], *, left_out: int = 0) -> Panel:
    """The panel of `runs[model][seed]` whose test images may differ from seed to seed, as those of folds do, but not
    from model to model; `left_out` images are missing from all of them.

    Raises:
        UserError: an image has another label in another run.
    """
    tests = [(_run_name(model, seed), run.part("test")) for model, of in runs.items() for seed, run in of.items()]
    seen: set[str] = set()
    parts = []
    for _, test in tests:
        parts.append(test.rows(np.array([image not in seen for image in test.image_id.tolist()])))
        seen.update(test.image_id.tolist())
    whole = concatenate(parts)
    place = {image: row for row, image in enumerate(whole.image_id.tolist())}
    found: dict[str, dict[str, Run]] = {}
    placed = []
    for model, of in runs.items():
        for seed, predictions in of.items():
            test = predictions.part("test")
            at = np.array([place[image] for image in test.image_id.tolist()])
            test, rows = test.rows(np.argsort(at)), np.sort(at)
            alignment.same_labels(_run_name(model, seed), test, "another run", whole.rows(rows))
            found.setdefault(model, {})[seed] = _run(test, predictions, None if len(rows) == len(whole) else rows)
            placed.append((_run_name(model, seed), test, rows))
    group = alignment.same_patients(placed, len(whole))
    patients = None if group is None else len(set(group.tolist()))
    columns, notes = alignment.same_columns(placed, len(whole))
    cluster = clusters(group, len(whole))
    return Panel(dataset, whole.image_id, whole.label, cluster, patients, columns, found, left_out, notes)


def _run_name(model: str, seed: str) -> str:
    return f"{model}, seed {seed}" if seed else model


def _run(test: Predictions, predictions: Predictions, rows: np.ndarray | None = None) -> Run:
    validation = predictions.part("val")
    thresholds, fallback = choose(validation)
    return Run(test, validation, thresholds, rows, fallback)


def _panel(dataset: str, sources: list[tuple[str, Predictions]], common: bool) -> Panel:
    sources = alignment.same_classes(sources)
    tests = [(source, predictions.part("test")) for source, predictions in sources]
    for source, test in tests:
        if not len(test):
            raise UserError(f"{source}: no test image (column 'split' says test for none)")
    ids = _images(tests, common)
    runs: dict[str, dict[str, Run]] = {}
    known: dict[tuple[str, str], str] = {}
    ordered: list[tuple[str, Predictions]] = []
    for (source, predictions), (_, test) in zip(sources, tests, strict=True):
        place = {image: row for row, image in enumerate(test.image_id.tolist())}
        rows = test.rows(np.array([place[image] for image in ids]))
        alignment.same_labels(source, rows, *(ordered[0] if ordered else (source, rows)))
        ordered.append((source, rows))
        name = (predictions.model or source, predictions.seed)
        if name in known:
            raise UserError(
                f"{source}: model {name[0]!r}{f', seed {name[1]}' if name[1] else ''} stands already in {known[name]};"
                " tell them apart in the columns 'model' and 'seed'"
            )
        known[name] = source
        runs.setdefault(name[0], {})[name[1]] = _run(rows, predictions)
    everywhere = [(source, rows, np.arange(len(ids))) for source, rows in ordered]
    group = alignment.same_patients(everywhere, len(ids))
    columns, notes = alignment.same_columns(everywhere, len(ids))
    return Panel(
        dataset,
        np.array(ids),
        ordered[0][1].label,
        clusters(group, len(ids)),
        None if group is None else len(set(group.tolist())),
        columns,
        runs,
        len({image for _, test in tests for image in test.image_id.tolist()}) - len(ids),
        notes,
    )


def _images(tests: alignment.Sources, common: bool) -> list[str]:
    """The images that all have, in the order of the first to name each."""
    judged = [set(test.image_id.tolist()) for _, test in tests]
    everything = list(dict.fromkeys(image for _, test in tests for image in test.image_id.tolist()))
    for (source, _), own in zip(tests, judged, strict=True):
        missing = len(everything) - len(own)
        if missing and not common:
            lost = next(image for image in everything if image not in own)
            raise UserError(
                f"{source}: lacks {missing} of the {len(everything)} test images that others have"
                f" ({lost!r} first); --common compares on those that all have"
            )
    kept = set.intersection(*judged)
    if not kept:
        raise UserError(f"no test image is in all of {', '.join(source for source, _ in tests)}")
    return [image for image in everything if image in kept]
