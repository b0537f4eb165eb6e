"""Every metric with its interval."""

from attn_jax.evaluation import shown
from attn_jax.evaluation.evidence import ranked
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import fixed, metric_title
from attn_jax.report.tables.table import Column, Table, ranged, text

METRICS = (
    "auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "brier",
    "ece",
)
LETTERS = "models that share one are not told apart (Holm over all pairs), which is not equivalence"


def intervals(judged: Judged, name: str, *, simulated: bool) -> Table:
    """One row a model, best first: each metric's mean over seeds with its interval, and significance letters."""
    found, metric = judged.found, judged.settings.metric
    metrics = [metric, *(of for of in METRICS if of != metric)]
    order = ranked(found.models, metric)
    several = len(order) > 1
    told = {
        (label, of): shown.of_value(found.models[label].metrics[of], of, len(found.models[label].seeds) > 1)
        for label in order
        for of in metrics
    }
    columns = [Column("Model", ("model",), numeric=False)]
    columns += [Column("Letters", ("letters",), LETTERS, numeric=False)] if several else []
    for of in metrics:
        hint = judged.interval_hint(told[label, of][0] for label in order if told[label, of][1])
        columns.append(Column(metric_title(of), (of, f"{of}_low", f"{of}_high"), hint))
    rows = []
    for label in order:
        values = [text(label), *([text(found.letters[label], no_letter(judged, label))] if several else [])]
        for of in metrics:
            value = found.models[label].metrics[of]
            values.append(ranged(value.value, told[label, of][1], fixed, value.reason))
        rows.append(tuple(values))
    caption = f"Every metric with its interval: {found.dataset}. Mean over seeds, {judged.interval_words}."
    undefined = max((interval.undefined for _, interval in told.values() if interval), default=0.0)
    lost = (f"Up to {100 * undefined:.2g} % of the replicates lack a label and are left out.",) if undefined else ()
    return Table(name, caption, tuple(columns), tuple(rows), simulated, (*judged.interval_notes, *lost))


def no_letter(judged: Judged, label: str) -> str:
    """Why a model has no letter; "" where it has one."""
    if judged.found.letters[label]:
        return ""
    if label in judged.found.controls:
        return "trained on random labels: compared with none"
    return "cannot be compared with most models"
