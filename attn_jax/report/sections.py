"""What stands on the page, and in which order; each block is prose, facts, a table, figures or a gallery."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attn_jax import progress
from attn_jax.report import evidence_sections, gallery, numbers
from attn_jax.report.arms import Comparison, titles
from attn_jax.report.blocks import Block, Section
from attn_jax.report.contents import COSTS, Contents, DatasetSummary
from attn_jax.report.evidence import Evidence, Judged
from attn_jax.report.figures import confusion, cost, palette, roc, training
from attn_jax.report.figures.drawing import Figure
from attn_jax.report.tables import leaderboard, records, saliency, scorecard
from attn_jax.report.tables.table import Table

MOST_WIDE_MATRICES = 3


def slugs(names: Iterable[str]) -> dict[str, str]:
    """For each name one that file systems and anchors take, unique among them."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-").lower()[:60] or "x"
        number, slug = 2, plain
        while slug in found.values():
            slug, number = f"{plain}-{number}", number + 1
        found[name] = slug
    return found


def build(
    contents: Contents, comparisons: Sequence[Comparison], evidence: Evidence, *, pictures: bool
) -> list[Section]:
    """All sections below the summary."""
    names = slugs(contents.datasets)
    attentions = list(dict.fromkeys(contents.cells["attention"]))
    own = [comparison for comparison in comparisons if not comparison.tested_on]
    sections = []
    for comparison in progress.track(own, "drawing figures", len(own)):
        slug = names[comparison.dataset]
        looks = palette.looks(comparison, attentions)
        judged = evidence.find(comparison)
        parts = [
            _quality(contents, comparison, judged, looks, slug),
            evidence_sections.on_dataset(judged, comparison, looks, slug),
        ]
        parts += [_training(contents, comparison, looks, slug)]
        parts += [_cost(comparison, judged, looks, slug), _gallery(contents, comparison, slug, pictures)]
        shown = tuple(part for part in parts if part is not None)
        sections.append(Section(f"on-{slug}", comparison.dataset, (), shown))
    together = evidence_sections.over_datasets(evidence, own, attentions)
    sections += [together] if together else []
    external = [comparison for comparison in comparisons if comparison.tested_on]
    if external:
        sections.append(_external(external, evidence, attentions, names))
    return [*sections, _data(contents, names), _cells(contents)]


def _quality(
    contents: Contents, comparison: Comparison, judged: Judged | None, looks: dict[str, palette.Look], slug: str
) -> Section:
    summary = contents.datasets[comparison.dataset]
    blocks = [Block("table", leaderboard.leaderboard(comparison, f"leaderboard-{slug}", judged))]
    if summary.kind == "multilabel" or len(summary.classes) > 2:
        table = leaderboard.per_class(comparison, summary.classes, summary.kind, f"per-class-{slug}")
        blocks.append(Block("table", table))
    drawn = roc.figure(comparison, contents, looks, f"roc-{slug}", judged.panel if judged else None)
    matrices = confusion.figures(comparison, summary.classes, f"confusion-{slug}")
    open_ones = MOST_WIDE_MATRICES if any(matrix.wide for matrix in matrices) else len(matrices)
    shown, folded = [*([drawn] if drawn else []), *matrices[:open_ones]], matrices[open_ones:]
    blocks += [Block("figures", shown)] if shown else []
    blocks += (
        [Block("figures", folded, f"{len(folded)} more confusion {'matrix' if len(folded) == 1 else 'matrices'}")]
        if folded
        else []
    )
    if len(comparison.shown) < len(comparison.arms):
        hidden = len(comparison.arms) - len(comparison.shown)
        text = (
            f"Figures name {len(comparison.shown)} arms, the baseline and the best; {hidden} more stand in the tables."
        )
        blocks.insert(1, Block("text", text))
    return Section(f"quality-{slug}", "Quality", tuple(blocks))


def _training(contents: Contents, comparison: Comparison, looks: dict[str, palette.Look], slug: str) -> Section | None:
    drawn = training.figures(comparison, contents, looks, f"training-{slug}")
    return Section(f"training-{slug}", "Training", (Block("figures", drawn),)) if drawn else None


def _cost(comparison: Comparison, judged: Judged | None, looks: dict[str, palette.Look], slug: str) -> Section | None:
    if all(arm.cost(field).mean is None for arm in comparison.arms for field in COSTS):
        return None
    blocks = [Block("table", records.cost(comparison, f"cost-{slug}"))]
    drawn = cost.figures(comparison, looks, f"cost-{slug}", judged)
    blocks += [Block("figures", drawn)] if drawn else []
    return Section(f"cost-{slug}", "Cost against quality", tuple(blocks))


def _gallery(contents: Contents, comparison: Comparison, slug: str, pictures: bool) -> Section | None:
    items = [item for item in contents.gallery if item.dataset == comparison.dataset]
    anchor, title = f"gallery-{slug}", "Where the models look"
    found = [
        saliency.places(contents, comparison, f"saliency-{slug}"),
        *scorecard.scorecards(contents, comparison, slug),
    ]
    blocks = tuple(Block("table", table) for table in found if table)
    if not pictures:
        why = "Pictures were left out of this version of the page on request."
        return Section(anchor, title, (*blocks, Block("text", why)))
    if not items:
        return Section(anchor, title, blocks) if blocks else None
    budget = gallery.MOST_BYTES * len(items) // len(contents.gallery)
    simulated = contents.simulated(comparison.dataset)
    built = gallery.build(items, anchor, titles(contents), simulated=simulated, budget=budget)
    return Section(anchor, title, (*blocks, Block("gallery", built)))


def _external(
    comparisons: Sequence[Comparison], evidence: Evidence, attentions: Sequence[str], names: Mapping[str, str]
) -> Section:
    text = "Networks trained on one data set and tested, unchanged, on another; thresholds come from the first."
    parts = []
    for comparison in comparisons:
        slug = f"external-{names[comparison.dataset]}-on-{names[comparison.tested_on]}"
        judged = evidence.find(comparison)
        blocks: tuple[Block, ...] = (Block("table", leaderboard.leaderboard(comparison, slug, judged)),)
        proof = evidence_sections.on_dataset(judged, comparison, palette.looks(comparison, attentions), slug)
        title = f"{comparison.dataset}, tested on {comparison.tested_on}"
        parts.append(Section(f"of-{slug}", title, (*blocks, *(proof.blocks if proof else ()))))
    return Section("external", "External validation", (Block("text", text),), tuple(parts))


def _data(contents: Contents, names: Mapping[str, str]) -> Section:
    parts = []
    for dataset, summary in contents.datasets.items():
        slug = names[dataset]
        blocks = [Block("facts", _facts(summary)), Block("table", records.counts(dataset, summary, f"images-{slug}"))]
        if summary.skipped:
            table = records.skipped(dataset, summary, f"skipped-{slug}")
            skipped = numbers.plural(len(summary.skipped), "skipped file")
            blocks.append(Block("table", table, f"{skipped}, with reasons"))
        parts.append(Section(f"data-{slug}", dataset, tuple(blocks)))
    return Section("data", "Data", (), tuple(parts))


def _facts(summary: DatasetSummary) -> dict[str, Any]:
    if not summary.image_size:
        return {
            "Source": summary.source,
            "Images": numbers.count(summary.images),
            "Patients": "not named" if summary.patients is None else numbers.count(summary.patients),
            "Task": _task(summary),
        } | ({"Left out": f"{summary.left_out} test images that some models lack"} if summary.left_out else {})
    duplicates = "none found"
    if summary.clusters:
        duplicates = (
            f"{numbers.plural(summary.clusters, 'cluster')} of near-duplicates with "
            f"{numbers.plural(summary.images_in_clusters, 'image')}, each kept on one side of the split"
        )
    facts: dict[str, Any] = {
        "Source": f"{summary.source} (simulated)" if summary.simulated else summary.source,
        "Images": numbers.count(summary.images),
        "Patients": "not known: split by image" if summary.patients is None else numbers.count(summary.patients),
        "Working size": summary.image_size,
        "Task": _task(summary),
        "Duplicates": duplicates,
        "Leaks avoided": f"{numbers.plural(summary.leaked_naive, 'validation or test image')} whose patient or "
        "near-duplicate would have been in training under a split image by image",
        "Skipped files": numbers.count(len(summary.skipped)),
    }
    return facts | ({"Notes": list(summary.notes)} if summary.notes else {})


def _task(summary: DatasetSummary) -> str:
    return "findings, several an image" if summary.kind == "multilabel" else f"{len(summary.classes)} classes"


def _cells(contents: Contents) -> Section:
    blocks = []
    failed = contents.cells["state"] == "failed"
    if failed.any():
        table = records.cells(contents, "failed-cells", states=("failed",), caption="Failed cells and their reasons.")
        blocks.append(Block("table", table))
    states = ("done", "failed", "unfinished")
    table = records.cells(contents, "cells", states=states, caption="All cells of the grid.")
    blocks.append(Block("table", table, f"All {numbers.plural(len(contents.cells), 'cell')}"))
    return Section("cells", "Cells", tuple(blocks))


def tables_in(sections: Iterable[Section]) -> list[Table]:
    """Every table, in order."""
    return [block.value for section in sections for block in _blocks(section) if block.kind == "table"]


def figures_in(sections: Iterable[Section]) -> list[Figure]:
    """Every figure, in order."""
    return [f for section in sections for block in _blocks(section) if block.kind == "figures" for f in block.value]


def _blocks(section: Section) -> list[Block]:
    return [*section.blocks, *(block for part in section.parts for block in _blocks(part))]
