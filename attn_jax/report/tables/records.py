"""The tables that are no contest: cost, cells, data sets and their skipped files."""

from collections.abc import Callable

from attn_jax.report import numbers
from attn_jax.report.arms import Comparison, Spread
from attn_jax.report.contents import Contents, DatasetSummary
from attn_jax.report.tables.leaderboard import arm_columns, arm_values
from attn_jax.report.tables.table import Column, Table, Value, number, text

COST_COLUMNS: tuple[tuple[str, str, Callable[[float | None], str], str], ...] = (
    ("parameters", "Parameters", numbers.parameters, "trainable parameters of the whole network"),
    ("gmacs", "Operations", numbers.operations, "of one image's forward pass; two for each multiply-add"),
    ("step_bytes", "Bytes moved", numbers.size, "read and written by one training step, by the compiler's count"),
    ("step_seconds", "Step time", numbers.time, "one training step"),
    ("compile_seconds", "Compile time", numbers.time, "of the training step"),
    ("train_seconds", "Training time", numbers.time, "of one cell"),
    ("steps", "Steps", numbers.count, "trained"),
    ("best_step", "Best step", numbers.count, "the one whose parameters were tested"),
)


def cost(comparison: Comparison, name: str) -> Table:
    """What each arm costs, in grid order; times are means over repeats."""
    columns = [*arm_columns(comparison)]
    columns += [Column(label, (field,), hint) for field, label, _, hint in COST_COLUMNS]
    rows = [
        (*arm_values(comparison, arm), *(_mean(arm.cost(f), form) for f, _, form, _ in COST_COLUMNS))
        for arm in comparison.arms
    ]
    caption = f"Cost: {comparison.dataset}. Means over {comparison.repeats}s."
    return Table(name, caption, tuple(columns), tuple(rows), comparison.simulated)


def _mean(value: Spread, form: Callable[[float | None], str]) -> Value:
    return number(value.mean, form, value.reason)


def cells(contents: Contents, name: str, *, states: tuple[str, ...], caption: str) -> Table:
    """The cells in these states, one row each."""
    part = contents.cells[contents.cells["state"].isin(states)]
    axes = ["dataset", "tested_on", "attention", "model", "placement", "seed", "fold"]
    axes = [axis for axis in axes if axis in ("dataset", "attention", "seed") or contents.cells[axis].nunique() > 1]
    axes += [axis for axis in contents.extra_axes if axis not in axes]
    columns = [Column("Cell", ("slug",), numeric=False), Column("Key", ("key",), numeric=False)]
    columns += [Column(a.replace("_", " ").capitalize(), (a,), numeric=False) for a in axes]
    columns += [Column("State", ("state",), numeric=False)]
    reasons = part["reason"].astype(str).str.strip() != ""
    columns += [Column("Reason", ("reason",), numeric=False)] if reasons.any() else []
    metric = contents.primary
    scored = "done" in states
    columns += [Column(numbers.metric_title(metric), (metric,))] if scored else []
    simulated = contents.simulated(*part["dataset"], *part["tested_on"])
    rows = []
    for cell in part.to_dict("records"):
        row = [text(cell["slug"]), text(cell["key"]), *(text(cell[a]) for a in axes), text(cell["state"])]
        row += [text(cell["reason"])] if reasons.any() else []
        if scored:
            result = contents.results.get(cell["key"])
            value = result.metrics.get(metric) if result else None
            why = result.undefined.get(metric, "undefined") if result else "no result"
            row.append(number(value, numbers.fixed, why))
        rows.append(tuple(row))
    return Table(name, caption, tuple(columns), tuple(rows), simulated)


def counts(dataset: str, summary: DatasetSummary, name: str) -> Table:
    """Images of each class in each split, with totals where an image has one class only."""
    splits = list(summary.counts.columns)
    single = summary.kind == "single"
    first = Column("Class" if single else "Finding", ("class",), numeric=False)
    columns = [first, *(Column(str(split), (str(split),)) for split in splits)]
    columns += [Column("All", ("all",))]
    rows = []
    for label, row in summary.counts.iterrows():
        rows.append(
            (
                text(label),
                *(number(float(row[s]), numbers.count) for s in splits),
                number(float(row.sum()), numbers.count),
            )
        )
    if single:
        sums = summary.counts.sum()
        rows.append(
            (
                text("All"),
                *(number(float(sums[s]), numbers.count) for s in splits),
                number(float(sums.sum()), numbers.count),
            )
        )
    notes = () if single else ("An image counts once for every finding it has.",)
    caption = f"Images by {'class' if single else 'finding'} and split: {dataset}."
    return Table(name, caption, tuple(columns), tuple(rows), summary.simulated, notes, sortable=False)


def skipped(dataset: str, summary: DatasetSummary, name: str) -> Table:
    """The files that could not be used, each with its reason."""
    columns = (Column("File", ("path",), numeric=False), Column("Reason", ("reason",), numeric=False))
    rows = tuple((text(path), text(reason)) for path, reason in summary.skipped)
    return Table(name, f"Skipped files: {dataset}.", columns, rows, summary.simulated)
