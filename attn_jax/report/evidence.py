"""The evidence of a study: for each comparison on the page the panel of its predictions, and what follows from it."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from attn_jax import progress
from attn_jax.evaluation.across import Across, across
from attn_jax.evaluation.evidence import OnDataset, Settings, on_panel
from attn_jax.evaluation.intervals import NO_INTERVAL
from attn_jax.evaluation.panel import Panel, of_folds
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import FOLD, PATIENTS, SEEDS_AND_PATIENTS
from attn_jax.report.arms import Arm, Comparison
from attn_jax.report.contents import Contents
from attn_jax.report.numbers import metric_title

METHODS = {
    "seeds and patients t": "t, with the variance over seeds and that of {} bootstrap replicates of patients",
    "patients t": "t, with the variance of {} bootstrap replicates of patients",
    SEEDS_AND_PATIENTS: "t on the logit scale, with the variance over seeds and that of {} bootstrap replicates of"
    " patients",
    PATIENTS: "t on the logit scale, with the variance of {} bootstrap replicates of patients",
    "delong": "DeLong, on the logit scale",
    "wilson": "Wilson's score interval",
}
"""The intervals that are shown, by name, with a place for the number of replicates."""


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """One comparison: models are called as its arms."""

    panel: Panel
    found: OnDataset
    settings: Settings

    @property
    def interval_words(self) -> str:
        """What the models' intervals are over, in words."""
        seeds = [len(model.seeds) > 1 for model in self.found.models.values()]
        return f"{100 * self.settings.level:g} % intervals over {self._units(seeds)}"

    @property
    def difference_words(self) -> str:
        """What the intervals of differences to the baseline are over, in words."""
        return f"{100 * self.settings.level:g} % intervals over {self.difference_units}"

    @functools.cached_property
    def difference_units(self) -> str:
        """What differences to the baseline may vary by: over seeds where both models share several, and patients."""
        spreads = [contest.effects[self.settings.metric].spread for contest in self.found.contests]
        return self._units([bool(spread.seeds) for spread in spreads if spread is not None])

    @property
    def who(self) -> str:
        """What was drawn."""
        return "patients" if self.panel.patients is not None else "images"

    def _units(self, seeds: Sequence[bool]) -> str:
        if not any(seeds):
            return self.who
        return (
            f"seeds and {self.who}"
            if all(seeds)
            else f"{self.who}, and of {sum(seeds)} of {len(seeds)} also over seeds"
        )

    def interval_hint(self, names: Iterable[str]) -> str:
        """For a column's heading: `names` are those of `shown.of_value` or `shown.of_difference`."""
        return "; ".join(dict.fromkeys(METHODS[name].format(self.settings.replicates) for name in names if name))

    @property
    def interval_notes(self) -> tuple[str, ...]:
        """Where these intervals do not hold the truth as often as they promise, and which numbers have none."""
        none = (f"{metric_title(metric)}: {reason}." for metric, reason in NO_INTERVAL.items())
        return (*self.found.cautions, *none)


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """`of[dataset, tested_on]`, where all arms were tested on the same images; and over data sets, or why not."""

    of: Mapping[tuple[str, str], Judged]
    across: Across | str
    settings: Settings

    def find(self, comparison: Comparison) -> Judged | None:
        """What is known of a comparison."""
        return self.of.get((comparison.dataset, comparison.tested_on))


def gather(contents: Contents, comparisons: Sequence[Comparison]) -> Evidence:
    """Judges every comparison that has predictions on the same images, repeat by repeat."""
    of = {}
    for comparison in progress.track(comparisons, "weighing the evidence", len(comparisons)):
        judged = _judged(contents, comparison)
        if judged is not None:
            of[comparison.dataset, comparison.tested_on] = judged
    own = [judged.found for (_, tested_on), judged in of.items() if not tested_on]
    settings = Settings(contents.baseline, contents.primary, contents.margin)
    return Evidence(of, across(own, settings), settings)


def _judged(contents: Contents, comparison: Comparison) -> Judged | None:
    runs = {arm.label: _runs(arm, contents) for arm in comparison.arms}
    runs = {label: found for label, found in runs.items() if found}
    controls = [arm.label for arm in comparison.arms if arm.control and arm.label in runs]
    baselines = [a.label for a in comparison.arms if comparison.is_baseline(a) and not a.control and a.label in runs]
    if not runs or not comparison.same_images:
        return None
    panel = of_folds(comparison.dataset, runs, left_out=contents.datasets[comparison.dataset].left_out)
    settings = Settings(baseline=baselines[0] if baselines else "", metric=comparison.primary, margin=contents.margin)
    references = {}
    for arm in comparison.arms:
        reference = comparison.reference(arm)
        if reference is not None and not arm.control and arm.label in runs and reference.label in runs:
            references[arm.label] = reference.label
    found = on_panel(panel, settings, references, controls)
    if comparison.tested_on:
        found = dataclasses.replace(found, dataset=f"{comparison.dataset}, tested on {comparison.tested_on}")
    return Judged(panel, found, settings)


def _runs(arm: Arm, contents: Contents) -> dict[str, Predictions]:
    """The predictions of an arm's cells by seed, those of folds by both: `resampled` takes them for one seed."""
    found = {}
    for (seed, fold), key in zip(arm.results, arm.keys, strict=True):
        if key in contents.predictions and len(contents.predictions[key].part("test")):
            found[seed if fold == "0" else f"{seed}{FOLD}{fold}"] = contents.predictions[key]
    return found
