"""All data sets together: average ranks, and what the next data set is to be expected to show."""

from attn_jax.evaluation.across import TAU_SCALES, Across
from attn_jax.evaluation.evidence import Settings
from attn_jax.report.numbers import fixed, metric_title, p_value, signed
from attn_jax.report.tables.table import Column, Table, Value, number, text

_RANGE = f"P better under priors of scale {TAU_SCALES[0]:g} to {TAU_SCALES[-1]:g} on how much data sets vary"


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
        Column("Over priors", ("p_better_least", "p_better_greatest"), _RANGE),
    )
    ranks = dict(zip(found.models, found.comparison.ranks.tolist(), strict=True))
    rows = []
    for model in sorted(ranks, key=lambda of: ranks[of]):
        of = found.posteriors.get(model)
        reason = "the baseline" if model == found.baseline else "no difference to one baseline on all data sets"
        reason = of.undefined.get("mu", "") if of else reason
        values = [text(model), number(ranks[model], lambda x: fixed(x, 2))]
        for summary in (of.mu, of.new) if of else (None, None):
            if summary is None:
                values.append(Value("—", (None, None, None), None, reason))
            else:
                shown = f"{signed(summary.mean)} ({signed(summary.low)} to {signed(summary.high)})"
                values.append(Value(shown, (summary.mean, summary.low, summary.high), summary.mean))
        shares = of.new_rope if of and of.new_rope else (None, None, None)
        values += [number(share, lambda x: fixed(x, 2), reason) for share in shares]
        chances = [rope.right for rope in found.chances.get(model, {}).values()]
        ends = (min(chances), max(chances)) if chances else (None, None)
        values.append(Value(f"{fixed(ends[0], 2)} to {fixed(ends[1], 2)}" if chances else "—", ends, ends[0], reason))
        rows.append(tuple(values))
    caption = (
        f"Over {len(found.datasets)} data sets: {title}. A Bayesian model of the differences to {found.reference}."
    )
    return Table(name, caption, columns, tuple(rows), simulated, _across_notes(found))


def _across_notes(found: Across) -> tuple[str, ...]:
    friedman, nemenyi = found.comparison.friedman, found.comparison.nemenyi
    said = [f"No test of all models over data sets: {friedman.undefined.get('f_p', nemenyi.reason)}."]
    if friedman.f_p is not None:
        said = [f"Iman and Davenport's F: p {p_value(friedman.f_p)}."]
    if nemenyi.critical_difference is not None:
        said.append(f"Nemenyi's critical difference of average ranks is {nemenyi.critical_difference:.2f}.")
    if found.reference != found.baseline:
        said.append(f"Differences are to {found.reference}, tests to {found.baseline}.")
    pairs = found.comparison.against_baseline
    if pairs is not None and pairs.pairs:
        told = [f"{found.models[of.second]} {p_value(of.adjusted)}" for of in pairs.pairs]
        least = (
            f"{p_value(pairs.smallest_p)} before adjustment is the least that {len(found.datasets)} data sets can give"
        )
        said.append(f"Wilcoxon over data sets against {found.baseline}, adjusted by Holm: {', '.join(told)}; {least}.")
    return tuple(said)
