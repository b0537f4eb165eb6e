"""What a page is made from: the cells of a study, their results, their pictures and where all of it came from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from attn_jax.errors import UserError
from attn_jax.evaluation.equivalence import MARGIN
from attn_jax.evaluation.records import Predictions, Result

STATES = ("done", "failed", "unfinished")
REPEATS = ("seed", "fold")
COSTS = ("parameters", "gmacs", "step_bytes", "step_seconds", "compile_seconds", "train_seconds", "steps", "best_step")
NAMES = ("key", "slug", "state", "reason", "dataset", "attention", "model", "placement", "tested_on")
SALIENCY = ["key", "place", "energy", "area", "images"]
SCORES = ["key", "image_id", "group", "method", "metric", "value"]
UNSCORED = ["key", "method", "reason"]
REQUIRED = (*NAMES, *REPEATS, *COSTS)


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
    """One data set as it was prepared; `counts` has a row a class and a column a split.

    An empty `image_size` says that nothing is known of the images: others predicted, and told what. `left_out` counts
    test images that some of their models lack.

    `leaked_naive` counts the validation and test images that would have shared a patient or a near-duplicate with
    training, had the split been drawn image by image.
    """

    classes: tuple[str, ...]
    kind: str
    simulated: bool
    counts: pd.DataFrame
    images: int
    image_size: str
    source: str
    patients: int | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    clusters: int = 0
    images_in_clusters: int = 0
    leaked_naive: int = 0
    left_out: int = 0
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class GalleryMap:
    """Where one mechanism's model looks: `map` is [H, W] in [0, 1]; `score` is that of the predicted class."""

    attention: str
    map: np.ndarray
    predicted: str
    score: float
    correct: bool
    energy_in_mask: float | None = None


@dataclasses.dataclass(frozen=True)
class GalleryItem:
    """One row of the gallery; `image` is uint8 [H, W] or [H, W, 3], `mask` bool [H, W] where the lesion is known."""

    dataset: str
    image_id: str
    image: np.ndarray
    mask: np.ndarray | None
    label: str
    columns: tuple[GalleryMap, ...]


@dataclasses.dataclass(frozen=True)
class Contents:
    """Everything on the page. `cells` has the columns `REQUIRED`; any other column is a further axis of the grid.

    `results` and `predictions` are found by a cell's `key`; `history` has `key`, `step`, `epoch` and a column a metric.
    `saliency` has a row a cell and place (`lesion`, `tag`): the mean share of the test images' maps that lies there
    (`energy`), the share of the image it covers (`area`), and in how many `images`.
    `scores` has a row a cell, test image, saliency method (or map that knows nothing) and metric: see
    `study.scoring.scores` and `study.agreement.agreement`; `group` is the patient. `unscored` says why a cell has no
    scores of a `method`; where that is empty, why it has none at all.
    `margin` is a difference in the metric `primary` that is too small to matter.
    `verbatim` says that `attention` holds names given by whoever predicted, not mechanisms of ours.
    `tested_on` is empty for a cell's own test part, else the data set an already trained cell was tried on.

    Raises:
        UserError: a column is missing, a state is unknown, a key stands twice, or a data set has no summary.
    """

    title: str
    cells: pd.DataFrame
    results: Mapping[str, Result]
    predictions: Mapping[str, Predictions]
    history: pd.DataFrame
    datasets: Mapping[str, DatasetSummary]
    gallery: tuple[GalleryItem, ...] = ()
    saliency: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=SALIENCY))
    scores: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=SCORES))
    unscored: pd.DataFrame = dataclasses.field(default_factory=lambda: pd.DataFrame(columns=UNSCORED))
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: str = ""
    description: str = ""
    baseline: str = "none"
    primary: str = "auc"
    margin: float = MARGIN
    verbatim: bool = False

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.cells.columns]
        if missing:
            raise UserError(f"report: cells lack the columns {', '.join(missing)}")
        unknown = sorted(set(self.cells["state"]) - set(STATES))
        if unknown:
            raise UserError(f"report: unknown state {unknown[0]!r} of a cell; known: {', '.join(STATES)}")
        twice = self.cells["key"][self.cells["key"].duplicated()]
        if len(twice):
            raise UserError(f"report: two cells have the key {twice.iloc[0]!r}")
        orphans = sorted((set(self.cells["dataset"]) | set(self.cells["tested_on"]) - {""}) - set(self.datasets))
        if orphans:
            raise UserError(f"report: no summary of the data set {orphans[0]!r}")

    @property
    def done(self) -> pd.DataFrame:
        """The cells that are done and have a result."""
        return self.cells[(self.cells["state"] == "done") & self.cells["key"].isin(list(self.results))]

    @property
    def extra_axes(self) -> list[str]:
        """The columns of `cells` beyond those every study has."""
        return [name for name in self.cells.columns if name not in REQUIRED]

    def simulated(self, *names: str) -> bool:
        """Whether any of the data sets of these names is simulated; without names, any at all."""
        return any(self.datasets[name].simulated for name in names or self.datasets if name)
