"""Quality of every arm: the leaderboard, external validation, one class at a time, and all data sets side by side."""

from collections.abc import Sequence

from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.evaluation.shown import of_value as interval_of
from attn_jax.report.arms import Arm, Comparison, Spread, difference
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import DASH, fixed, metric_title
from attn_jax.report.tables.intervals import LETTERS, no_letter
from attn_jax.report.tables.table import (
    Column,
    Table,
    Value,
    mark_best,
    number,
    over_repeats,
    span,
    spread_fields,
    text,
)

METRICS = (
    "auc",
    "average_precision",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "mcc",
    "kappa",
    "brier",
    "log_loss",
    "ece",
)
HINTS = {
    "auc": "area under the ROC curve; macro-average over classes where there are more than two",
    "average_precision": "area under the precision-recall curve; macro-average over classes",
    "sensitivity": "at the threshold chosen on the validation part",
    "specificity": "at the threshold chosen on the validation part",
    "mcc": "Matthews correlation coefficient",
    "kappa": "Cohen's kappa; quadratic weights where the classes are ordered",
    "ece": "expected calibration error",
}
AXES = {"model": "Network"}
STAR = "★ marks the best mean of a column; it says nothing about chance."


def _metrics(comparison: Comparison) -> list[str]:
    first = [comparison.primary] if comparison.primary not in METRICS else []
    return first + list(METRICS)


def metric_column(name: str) -> Column:
    """The heading of a metric, with which way is better."""
    better = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
    hint = HINTS.get(name)
    return Column(metric_title(name), spread_fields(name), f"{hint}; {better}" if hint else better)


def arm_columns(comparison: Comparison) -> list[Column]:
    """The headings that name an arm."""
    titles = {axis: AXES.get(axis, axis.replace("_", " ").capitalize()) for axis in comparison.axes}
    heads = [Column(title, (axis,), numeric=False) for axis, title in titles.items()]
    return [Column("Attention", ("attention",), numeric=False), *heads]


def arm_values(comparison: Comparison, arm: Arm) -> list[Value]:
    """The entries under `arm_columns`."""
    shown = f"{arm.title} (baseline)" if comparison.is_baseline(arm) else arm.title
    return [Value(shown, (arm.attention,), arm.attention.casefold()), *map(text, arm.others)]


def _delta(comparison: Comparison, arm: Arm) -> Value:
    reference = comparison.reference(arm)
    if reference is None:
        why = "the baseline itself" if comparison.is_baseline(arm) else "no finished baseline to compare with"
        return Value(DASH, ("", "", 0), None, why)
    return over_repeats(difference(arm, reference, comparison.primary), sign=True)


def leaderboard(comparison: Comparison, name: str, judged: Judged | None = None) -> Table:
    """One row an arm, best mean of the primary metric first; with `judged` also that metric's interval, and letters."""
    metrics = _metrics(comparison)
    primary = comparison.primary
    title = metric_title(primary)
    heads = arm_columns(comparison)
    repeats = Column(f"{comparison.repeats.capitalize()}s", ("repeats",), f"finished {comparison.repeats}s of this arm")
    delta = Column(f"Δ {title}", spread_fields(f"delta_{primary}"), "difference to the baseline, pair by pair")
    sure = _sure_columns(judged, primary) if judged else []
    others = [m for m in metrics if m != primary]
    columns = [*heads, repeats, metric_column(primary), *sure, delta, *map(metric_column, others)]
    rows = []
    for arm in comparison.ranked:
        own = [number(len(arm.results), lambda n: f"{n:.0f}"), over_repeats(arm.metric(primary))]
        own += _sure(judged, primary, arm) if judged else []
        rest = [over_repeats(arm.metric(m)) for m in others]
        rows.append([*arm_values(comparison, arm), *own, _delta(comparison, arm), *rest])
    start = len(heads) + 1
    for column, metric in enumerate((primary, *([""] * (len(sure) + 1)), *others), start):
        if metric:
            mark_best(rows, column, lowest=metric in LOWER_IS_BETTER)
    where = f"{comparison.dataset}, its own test part"
    if comparison.tested_on:
        where = f"trained on {comparison.dataset}, tested on {comparison.tested_on}"
    caption = f"Leaderboard: {where}. {_over(comparison)}"
    return Table(name, caption, tuple(columns), tuple(map(tuple, rows)), comparison.simulated, _notes(comparison))


def _sure_columns(judged: Judged, metric: str) -> list[Column]:
    models = judged.found.models.values()
    methods = [interval_of(of.metrics[metric], metric, len(of.seeds) > 1)[0] for of in models]
    ends = Column(
        f"{100 * judged.settings.level:g} % interval",
        (f"{metric}_low", f"{metric}_high"),
        judged.interval_hint(methods),
    )
    return [ends, *([Column("Letters", ("letters",), LETTERS, numeric=False)] if len(models) > 1 else [])]


def _sure(judged: Judged, metric: str, arm: Arm) -> list[Value]:
    of = judged.found.models.get(arm.label)
    several = len(judged.found.models) > 1
    if of is None:
        return [span(None, fixed, "no predictions"), *([text("", "no predictions")] if several else [])]
    interval = interval_of(of.metrics[metric], metric, len(of.seeds) > 1)[1]
    reason = of.metrics[metric].reason or of.metrics[metric].undefined.get("intervals", "replicates are all alike")
    letters = judged.found.letters[arm.label]
    shown = [text(letters, no_letter(judged, arm.label))] if several else []
    return [span(interval, fixed, reason), *shown]


def _over(comparison: Comparison) -> str:
    return f"Mean ± standard deviation over {comparison.repeats}s."


def _notes(comparison: Comparison) -> tuple[str, ...]:
    most = max(len(arm.results) for arm in comparison.arms)
    alone = f"Only one {comparison.repeats} was run, so no spread can be stated."
    delta = (
        f"Δ is the mean of the differences to the baseline ({comparison.baseline}) over the {comparison.repeats}s both "
        "have, ± their standard deviation."
    )
    notes = [STAR, delta, *([alone] if most == 1 else [])]
    if not comparison.same_images:
        notes.append("Not all arms were tested on the same images: their means cannot be compared.")
    results = [result for arm in comparison.arms for result in arm.results.values()]
    return (*notes, *dict.fromkeys(r.undefined["threshold"] for r in results if "threshold" in r.undefined))


def per_class(comparison: Comparison, classes: Sequence[str], kind: str, name: str) -> Table:
    """The primary metric class by class (finding by finding); the CSV holds the same."""
    metric = comparison.primary
    columns = [*arm_columns(comparison), *(Column(c, spread_fields(c), metric_column(metric).hint) for c in classes)]
    rows = [
        [*arm_values(comparison, arm), *(over_repeats(arm.class_metric(c, metric)) for c in classes)]
        for arm in comparison.ranked
    ]
    for index in range(len(columns) - len(classes), len(columns)):
        mark_best(rows, index, lowest=metric in LOWER_IS_BETTER)
    what = "finding" if kind == "multilabel" else "class, each against the rest"
    caption = f"{metric_title(metric)} of each {what}: {comparison.dataset}. {_over(comparison)}"
    return Table(name, caption, tuple(columns), tuple(map(tuple, rows)), comparison.simulated, (STAR,))


def overview(comparisons: Sequence[Comparison], name: str) -> Table:
    """Rows are arms, columns are data sets: the primary metric on each one's own test part."""
    own = [c for c in comparisons if not c.tested_on]
    metric = own[0].primary
    arms = list(dict.fromkeys(arm for comparison in own for arm in comparison.arms))
    columns = [*arm_columns(own[0]), *(Column(c.dataset, spread_fields(c.dataset)) for c in own)]
    rows = []
    for arm in arms:
        there = [next((a for a in c.arms if a == arm), None) for c in own]
        spreads = [a.metric(metric) if a else Spread(None, None, 0, "not run or not finished") for a in there]
        rows.append([*arm_values(own[0], arm), *map(over_repeats, spreads)])
    for index in range(len(columns) - len(own), len(columns)):
        mark_best(rows, index, lowest=metric in LOWER_IS_BETTER)
    caption = f"{metric_title(metric)} on every data set. {_over(own[0])}"
    return Table(name, caption, tuple(columns), tuple(map(tuple, rows)), any(c.simulated for c in own), (STAR,))
