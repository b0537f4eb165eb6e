"""The evidence on the page: what differs and how sure that is, on each data set and over all."""

from collections.abc import Sequence

from attn_jax.report.arms import Comparison
from attn_jax.report.blocks import Block, Section
from attn_jax.report.evidence import Evidence, Judged
from attn_jax.report.figures import (
    critical_difference,
    decision,
    expected,
    forest,
    palette,
    reliability,
    seeds,
    selective,
    subgroup,
)
from attn_jax.report.figures.drawing import Figure
from attn_jax.report.tables import across, contests, intervals, subgroups, trust
from attn_jax.report.tables.table import Table


def on_dataset(
    judged: Judged | None, comparison: Comparison, looks: dict[str, palette.Look], slug: str
) -> Section | None:
    """The differences to the baseline, every interval, trust and subgroups; None where nothing was judged."""
    if judged is None:
        return None
    simulated = comparison.simulated
    found, settings, panel = judged.found, judged.settings, judged.panel
    first = [
        forest.figure(found, settings, looks, f"forest-{slug}", simulated=simulated),
        seeds.figure(found, settings, looks, f"seeds-{slug}", simulated=simulated),
    ]
    later = [
        reliability.figure(panel, found, settings, looks, f"reliability-{slug}", simulated=simulated),
        decision.figure(panel, found, settings, looks, f"decision-{slug}", simulated=simulated),
        selective.figure(panel, found, settings, looks, f"selective-{slug}", simulated=simulated),
        *subgroup.figures(found, settings, looks, f"subgroup-{slug}", simulated=simulated),
    ]
    pairs = contests.pairs(judged, f"pairs-{slug}", simulated=simulated)
    blocks = [
        _table(contests.contests(judged, f"contests-{slug}", simulated=simulated)),
        _figures(first),
        _table(pairs, f"All {len(found.pairs)} pairs") if pairs else None,
        _table(intervals.intervals(judged, f"intervals-{slug}", simulated=simulated)),
        _table(trust.trust(judged, f"trust-{slug}", simulated=simulated)),
        _figures(later),
        _table(subgroups.subgroups(judged, f"subgroups-{slug}", simulated=simulated)),
    ]
    return Section(f"evidence-{slug}", "Evidence", tuple(block for block in blocks if block))


def _table(table: Table | None, folded: str = "") -> Block | None:
    return Block("table", table, folded) if table else None


def _figures(drawn: Sequence[Figure | None]) -> Block | None:
    known = [figure for figure in drawn if figure is not None]
    return Block("figures", known) if known else None


def over_datasets(evidence: Evidence, comparisons: Sequence[Comparison], attentions: Sequence[str]) -> Section | None:
    """Ranks, and what the next data set is to be expected to show, or why there are none; None for one data set."""
    if isinstance(evidence.across, str):
        if not evidence.across:
            return None
        return Section("across", "Over data sets", (Block("text", f"No comparison: {evidence.across}."),))
    own = [c for c in comparisons if not c.tested_on and evidence.find(c)]
    looks = {label: look for c in own for label, look in palette.looks(c, attentions).items()}
    simulated = any(c.simulated for c in own)
    drawn = [
        critical_difference.figure(
            evidence.across, evidence.settings, looks, "critical-difference", simulated=simulated
        ),
        expected.figure(evidence.across, evidence.settings, looks, "expected", simulated=simulated),
    ]
    blocks = [
        _table(across.across(evidence.across, evidence.settings, "across", simulated=simulated)),
        _figures(drawn),
    ]
    return Section("across", "Over data sets", tuple(block for block in blocks if block))
