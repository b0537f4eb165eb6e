"""The evidence of a study: for each comparison on the page the panel of its predictions, and what follows from it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from attn_jax import progress
from attn_jax.evaluation.across import Across, across
from attn_jax.evaluation.evidence import OnDataset, Settings, on_panel
from attn_jax.evaluation.panel import Panel, of_folds
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import BY, OF_DIFFERENCES, OF_VALUES
from attn_jax.report.arms import Arm, Comparison
from attn_jax.report.contents import Contents

METHOD_WORDS = {"percentile": "percentiles", "bca": "bias-corrected and accelerated"}
ALWAYS = (
    "Intervals of ECE do not cover: ECE is above 0 by chance, and in replicates twice; read the reliability diagram.",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """One comparison: models are called as its arms."""

    panel: Panel
    found: OnDataset
    settings: Settings

    @functools.cached_property
    def several(self) -> bool:
        """Whether any model has several seeds."""
        return any(len(model.seeds) > 1 for model in self.found.models.values())

    @property
    def of_values(self) -> str:
        """The name of the interval that the page shows of a metric: over all that there is more than one of."""
        return f"{BY[self.several]} {OF_VALUES}"

    @property
    def of_differences(self) -> str:
        """The same of a difference between two models."""
        return f"{BY[self.several]} {OF_DIFFERENCES}"

    @property
    def interval_words(self) -> str:
        """The same in words."""
        who = "patients" if self.panel.patients is not None else "images"
        return f"95 % bootstrap intervals over {'seeds and ' if self.several else ''}{who}"

    def interval_hint(self, method: str) -> str:
        """For a column's heading: `method` is `OF_VALUES` or `OF_DIFFERENCES`."""
        return f"{self.settings.replicates} replicates, {METHOD_WORDS[method]}"

    @property
    def interval_notes(self) -> tuple[str, ...]:
        """Where these intervals do not hold the truth as often as they promise."""
        return (*self.found.cautions, *ALWAYS)


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """`of[dataset, tested_on]`, where an arm and its baseline were tested on the same images; and over data sets."""

    of: Mapping[tuple[str, str], Judged]
    across: Across | None
    settings: Settings

    def find(self, comparison: Comparison) -> Judged | None:
        """What is known of a comparison."""
        return self.of.get((comparison.dataset, comparison.tested_on))


def gather(contents: Contents, comparisons: Sequence[Comparison]) -> Evidence:
    """Judges every comparison that has predictions of two arms at least on the same images, repeat by repeat."""
    of = {}
    for comparison in progress.track(comparisons, "weighing the evidence", len(comparisons)):
        judged = _judged(contents, comparison)
        if judged is not None:
            of[comparison.dataset, comparison.tested_on] = judged
    own = [judged.found for (_, tested_on), judged in of.items() if not tested_on]
    settings = Settings(metric=contents.primary)
    return Evidence(of, across(own, settings), settings)


def _judged(contents: Contents, comparison: Comparison) -> Judged | None:
    runs = {arm.label: _runs(arm, contents) for arm in comparison.arms}
    runs = {label: found for label, found in runs.items() if found}
    baselines = [arm.label for arm in comparison.arms if comparison.is_baseline(arm) and arm.label in runs]
    if len(runs) < 2 or not comparison.same_images or not baselines:
        return None
    panel = of_folds(comparison.dataset, runs)
    settings = Settings(baseline=baselines[0], metric=comparison.primary)
    references = {}
    for arm in comparison.arms:
        reference = comparison.reference(arm)
        if reference is not None and arm.label in runs and reference.label in runs:
            references[arm.label] = reference.label
    found = on_panel(panel, settings, references)
    if comparison.tested_on:
        found = dataclasses.replace(found, dataset=f"{comparison.dataset}, tested on {comparison.tested_on}")
    return Judged(panel, found, settings)


def _runs(arm: Arm, contents: Contents) -> dict[str, Predictions]:
    """The predictions of an arm's cells by seed and fold."""
    found = {}
    for (seed, fold), key in zip(arm.results, arm.keys, strict=True):
        if key in contents.predictions and len(contents.predictions[key].part("test")):
            found[seed if fold == "0" else f"{seed}, fold {fold}"] = contents.predictions[key]
    return found
