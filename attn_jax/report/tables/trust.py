"""Whether probabilities can be acted upon, as a table."""

from attn_jax.evaluation.evidence import ranked
from attn_jax.evaluation.trust import Trust
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import fixed
from attn_jax.report.tables.table import Column, Table, Value, ranged, text

COLUMNS = {
    "ece_equal_mass": ("ECE, equal mass", "expected calibration error in bins of equally many images"),
    "ece_classwise": ("ECE, classwise", "mean over classes of each one's error against the rest"),
    "calibration_in_the_large": ("In the large", "logit by which scores are too low on average; ideal 0"),
    "calibration_slope": ("Slope", "below 1: scores are too extreme; ideal 1"),
    "temperature": ("Temperature", "fitted on validation images; above 1: overconfident; interval on its logarithm"),
    "ece_after_temperature": ("ECE after", "of the test images after temperature scaling"),
    "aurc": ("AURC", "area under the risk-coverage curve; lower is better"),
    "accuracy_at_80": ("Accuracy, surest 80 %", "when the least sure fifth goes to a person"),
}


def trust(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model, of findings one a model and finding; None where nothing is known."""
    order = ranked(judged.found.models, judged.settings.metric)
    rows: list[tuple[tuple[str, ...], Trust]] = []
    for label in order:
        of = judged.found.models[label].trust
        rows += [((label, finding), own) for finding, own in of.findings.items()] or [((label,), of)]
    shown = [key for key in COLUMNS if any(of.numbers.get(key) is not None for _, of in rows)]
    if not shown:
        return None
    columns = [Column("Model", ("model",), numeric=False)]
    columns += [Column("Finding", ("finding",), numeric=False)] if len(rows[0][0]) > 1 else []
    columns += [Column(COLUMNS[key][0], (key, f"{key}_low", f"{key}_high"), COLUMNS[key][1]) for key in shown]
    hint = "where acting by the score beats acting on all and on none: the gain's interval is above 0"
    columns.append(Column("Useful thresholds", ("useful",), hint, numeric=False))
    made = []
    for names, of in rows:
        values = [ranged(of.numbers.get(k), of.intervals.get(k), fixed, of.reasons.get(k, "")) for k in shown]
        made.append((*map(text, names), *values, _useful(of)))
    caption = f"Trust: {judged.found.dataset}. Means over seeds, {judged.interval_words}."
    notes = (
        "Calibration errors have no interval: they are above 0 by chance, and in replicates twice. The temperature's is"
        " over the validation images; that of useful thresholds over patients, pointwise.",
    )
    return Table(name, caption, tuple(columns), tuple(made), simulated, notes)


def _useful(of: Trust) -> Value:
    """The widest range, which fits a line, and how many others there are; all of them in the CSV."""
    if not of.useful:
        return text("", "surely at none")
    words = [f"{low:.2f} to {high:.2f}" for low, high in of.useful]
    widest = max(range(len(words)), key=lambda n: of.useful[n][1] - of.useful[n][0])
    others = f" and {len(words) - 1} more" if len(words) > 1 else ""
    return Value(words[widest] + others, ("; ".join(words),), words[widest])
