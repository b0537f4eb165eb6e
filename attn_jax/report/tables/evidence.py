"""The evidence as tables: what differs from the baseline, every metric with its interval, trust, and subgroups."""

from collections.abc import Sequence

from attn_jax.evaluation.across import Across
from attn_jax.evaluation.comparing import Contest
from attn_jax.evaluation.evidence import Settings, ranked
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.power import Needed, NeededForMargin
from attn_jax.evaluation.resampled import OF_DIFFERENCES, OF_VALUES
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import count, fixed, metric_title, p_value, signed
from attn_jax.report.tables.table import Column, Table, Value, number, text

METRICS = ("auc", "average_precision", "balanced_accuracy", "sensitivity", "specificity", "f1", "brier", "ece")
TRUST = {
    "ece_equal_mass": ("ECE, equal mass", "expected calibration error in bins of equally many images"),
    "ece_classwise": ("ECE, classwise", "mean over classes of each one's error against the rest"),
    "calibration_in_the_large": ("In the large", "logit by which scores are too low on average; ideal 0"),
    "calibration_slope": ("Slope", "below 1: scores are too extreme; ideal 1"),
    "temperature": ("Temperature", "fitted on validation images; above 1: overconfident"),
    "ece_after_temperature": ("ECE after", "of the test images after temperature scaling"),
    "aurc": ("AURC", "area under the risk-coverage curve; lower is better"),
    "accuracy_at_80": ("Accuracy, surest 80 %", "when the least sure fifth goes to a person"),
}


def contests(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model with a baseline: the difference first, then its interval, the verdict, and the tests."""
    found, settings = judged.found, judged.settings
    if not found.contests:
        return None
    title = metric_title(settings.metric)
    tests = [test.name for test in found.contests[0].tests]
    columns = [
        Column("Model", ("model",), numeric=False),
        Column(f"Δ {title}", ("delta", "delta_sd", "seeds"), "to its baseline, over the seeds that both have"),
        Column("95 % interval", ("low", "high"), judged.interval_hint(OF_DIFFERENCES)),
        Column("Verdict", ("verdict", "margin"), f"margin of equivalence {settings.margin:g}", numeric=False),
        *(Column(f"p, {test}", (f"p_{test}", f"holm_{test}"), "adjusted by Holm over the rows") for test in tests),
        Column("Cohen's d", ("standardised",), "mean difference over its sd over seeds"),
        Column("Patients needed", ("patients_observed", "patients_margin"), "for 80 % power to find Δ, and the margin"),
        Column("Seeds needed", ("seeds_observed", "seeds_margin"), "for 80 % power to find Δ, and the margin"),
        Column("To show equivalence", ("patients_equivalence",), "patients for 80 % power, if Δ is what was seen"),
    ]
    rows = [_contest(judged, contest) for contest in found.contests]
    caption = f"Differences to the baseline: {found.dataset}. {title}, {judged.interval_words}."
    return Table(name, caption, tuple(columns), tuple(rows), simulated, _contest_notes(judged))


def _contest(judged: Judged, contest: Contest) -> tuple[Value, ...]:
    effect = contest.effects[judged.settings.metric]
    interval = effect.intervals.get(judged.of_differences)
    verdict = contest.equivalence.verdict if contest.equivalence else ""
    values = [
        text(contest.first),
        Value(signed(effect.value), (effect.value, effect.sd, len(effect.seeds)), effect.value, effect.reason),
        _interval(interval, sign=True),
        Value(verdict or "—", (verdict, judged.settings.margin), verdict, "" if verdict else effect.reason),
    ]
    for test, adjusted in zip(contest.tests, contest.adjusted, strict=True):
        values.append(Value(p_value(adjusted), (test.p, adjusted), adjusted, test.reason))
    values.append(number(effect.standardised, lambda x: signed(x, 2), "one seed: no spread"))
    values += [_needed(contest.needed.patients), _needed(contest.needed.seeds)]
    values.append(_for_margin(contest.needed.equivalence))
    return tuple(values)


def _needed(needed: Needed) -> Value:
    shown = f"{count(needed.observed)} / {count(needed.smallest)}"
    reason = needed.undefined.get("observed", needed.undefined.get("smallest", ""))
    return Value(shown, (needed.observed, needed.smallest), needed.observed, reason)


def _for_margin(needed: NeededForMargin) -> Value:
    return number(needed.patients, count, needed.undefined.get("patients", ""))


def _contest_notes(judged: Judged) -> tuple[str, ...]:
    verdict = (
        "Verdict, by z tests with the bootstrap's standard error at 2.5 % a side: equivalent, within the margin; else "
        "better or worse, not 0; else non-inferior, above minus the margin; else inconclusive."
    )
    needed = (
        "Needed: to find a difference as large as was seen / as large as the margin, with the spread that was seen."
    )
    return verdict, needed, *judged.found.cautions


def intervals(judged: Judged, name: str, *, simulated: bool) -> Table:
    """One row a model, best first: each metric's mean over seeds with its interval, and significance letters."""
    found, settings = judged.found, judged.settings
    metrics = [settings.metric, *(metric for metric in METRICS if metric != settings.metric)]
    columns = [
        Column("Model", ("model",), numeric=False),
        Column("Letters", ("letters",), "models that share one do not differ (Holm over all pairs)", numeric=False),
        *(Column(metric_title(m), (m, f"{m}_low", f"{m}_high"), judged.interval_hint(OF_VALUES)) for m in metrics),
    ]
    rows = []
    for label in ranked(found.models, settings.metric):
        values = [text(label), text(found.letters[label])]
        for metric in metrics:
            value = found.models[label].metrics[metric]
            interval = value.intervals.get(judged.of_values)
            ends = (interval.low, interval.high) if interval else (None, None)
            shown = fixed(value.value) + (f" ({fixed(ends[0])} to {fixed(ends[1])})" if interval else "")
            values.append(Value(shown, (value.value, *ends), value.value, value.reason))
        rows.append(tuple(values))
    caption = f"Every metric with its interval: {found.dataset}. Mean over seeds, {judged.interval_words}."
    return Table(name, caption, tuple(columns), tuple(rows), simulated, judged.interval_notes)


def trust(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model: whether its probabilities can be acted upon."""
    models = judged.found.models
    shown = [key for key in TRUST if any(model.trust.numbers.get(key) is not None for model in models.values())]
    if not shown:
        return None
    columns = [Column("Model", ("model",), numeric=False)]
    columns += [Column(TRUST[key][0], (key,), TRUST[key][1]) for key in shown]
    columns.append(
        Column("Useful thresholds", ("useful",), "where acting by the score beats all and none", numeric=False)
    )
    rows = []
    for label in ranked(models, judged.settings.metric):
        of = models[label].trust
        values = [number(of.numbers.get(key), fixed, of.reasons.get(key, "")) for key in shown]
        rows.append((text(label), *values, text(_useful(list(of.useful.values())))))
    caption = f"Trust: {judged.found.dataset}. Means over seeds."
    return Table(name, caption, tuple(columns), tuple(rows), simulated)


def _useful(seeds: Sequence[Sequence[tuple[float, float]]]) -> str:
    """The widest range of each seed, from the median lower to the median upper end."""
    widest = [max(ranges, key=lambda ends: ends[1] - ends[0]) for ranges in seeds if ranges]
    if not widest:
        return ""
    middle = [sorted(ends[k] for ends in widest)[len(widest) // 2] for k in (0, 1)]
    return f"{middle[0]:.2f} to {middle[1]:.2f}"


def subgroups(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model and column: each group's value with its interval, the worst group and the gap."""
    metric, rows = judged.settings.metric, []
    for label in ranked(judged.found.models, metric):
        for of in judged.found.models[label].subgroups:
            for group in of.groups:
                ends = (group.interval.low, group.interval.high) if group.interval else (None, None)
                shown = fixed(group.value) + (f" ({fixed(ends[0])} to {fixed(ends[1])})" if group.interval else "")
                reason = "" if group.value is not None else "undefined on these images"
                values = [text(label), text(of.column), text(group.name), number(group.images, count)]
                values.append(Value(shown, (group.value, *ends), group.value, reason))
                values.append(text("worst" if group.name == of.worst else " "))
                values.append(
                    Value(fixed(of.gap), (of.gap,), of.gap, "" if of.gap is not None else "fewer than two groups")
                )
                values.append(_interval(of.gap_interval))
                rows.append(tuple(values))
    if not rows:
        return None
    columns = (
        Column("Model", ("model",), numeric=False),
        Column("Column", ("column",), numeric=False),
        Column("Group", ("group",), numeric=False),
        Column("Images", ("images",)),
        Column(metric_title(metric), (metric, "low", "high"), "95 % bootstrap interval over patients"),
        Column("", ("worst",), numeric=False),
        Column("Gap", ("gap",), "best less worst group"),
        Column("Gap's interval", ("gap_low", "gap_high"), "95 % bootstrap interval over patients"),
    )
    caption = f"Subgroups: {judged.found.dataset}. {metric_title(metric)}, mean over seeds."
    notes = ("A gap between the best and the worst of several groups is above 0 by chance, too.",)
    return Table(name, caption, columns, tuple(rows), simulated, notes)


def _interval(interval: Interval | None, *, sign: bool = False) -> Value:
    if interval is None:
        return Value("—", (None, None), None, "no bootstrap interval")
    form = signed if sign else fixed
    return Value(f"{form(interval.low)} to {form(interval.high)}", (interval.low, interval.high), interval.low)


def across(found: Across, settings: Settings, name: str, *, simulated: bool) -> Table:
    """One row a model: its average rank over data sets, and what the next data set is to be expected to show."""
    title = metric_title(settings.metric)
    columns = (
        Column("Model", ("model",), numeric=False),
        Column("Average rank", ("rank",), "1 is the best"),
        Column(f"Expected Δ {title}", ("mu", "mu_low", "mu_high"), "mean over data sets like these, 95 % interval"),
        Column("On the next data set", ("new", "new_low", "new_high"), "95 % interval; positive is better"),
        Column("P worse", ("p_worse",), f"by more than {settings.margin:g}"),
        Column("P equivalent", ("p_equivalent",), f"within {settings.margin:g}"),
        Column("P better", ("p_better",), f"by more than {settings.margin:g}"),
    )
    ranks = dict(zip(found.models, found.comparison.ranks.tolist(), strict=True))
    rows = []
    for model in sorted(ranks, key=lambda of: ranks[of]):
        of = found.posteriors.get(model)
        reason = "the baseline" if model == found.baseline else (of.undefined.get("mu", "") if of else "no interval")
        values = [text(model), number(ranks[model], lambda x: fixed(x, 2))]
        for summary in (of.mu, of.new) if of else (None, None):
            if summary is None:
                values.append(Value("—", (None, None, None), None, reason))
            else:
                shown = f"{signed(summary.mean)} ({signed(summary.low)} to {signed(summary.high)})"
                values.append(Value(shown, (summary.mean, summary.low, summary.high), summary.mean))
        shares = of.new_rope if of and of.new_rope else (None, None, None)
        values += [number(share, lambda x: fixed(x, 2), reason) for share in shares]
        rows.append(tuple(values))
    caption = f"Over {len(found.datasets)} data sets: {title}. A Bayesian hierarchical model of the differences."
    return Table(name, caption, columns, tuple(rows), simulated, _across_notes(found))


def _across_notes(found: Across) -> tuple[str, ...]:
    friedman, nemenyi = found.comparison.friedman, found.comparison.nemenyi
    if friedman.f_p is None:
        return (f"No test over data sets: {friedman.undefined.get('f_p', nemenyi.reason)}.",)
    said = [f"Iman and Davenport's F: p {p_value(friedman.f_p)}."]
    if nemenyi.critical_difference is not None:
        said.append(f"Nemenyi's critical difference of average ranks is {nemenyi.critical_difference:.2f}.")
    pairs = found.comparison.against_baseline
    if pairs is not None and pairs.pairs:
        told = [f"{found.models[of.second]} {p_value(of.adjusted)}" for of in pairs.pairs]
        said.append(f"Wilcoxon against {found.baseline}, adjusted by Holm: {', '.join(told)}.")
    return tuple(said)
