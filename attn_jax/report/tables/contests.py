"""What differs from the baseline: effects first, then intervals, then tests, then how many it would take."""

from attn_jax.evaluation import shown
from attn_jax.evaluation.comparing import Contest
from attn_jax.evaluation.power import Needed
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import count, fixed, metric_title, p_value, signed
from attn_jax.report.tables.table import Column, Table, Value, number, span, text


def contests(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model with a baseline; None where there is none."""
    found, settings = judged.found, judged.settings
    if not found.contests:
        return None
    title = metric_title(settings.metric)
    methods = [shown.of_difference(contest.effects[settings.metric])[0] for contest in found.contests]
    columns = [
        Column("Model", ("model",), numeric=False),
        Column(f"Δ {title}", ("delta", "delta_sd", "seeds"), "to its baseline, over the seeds that both have"),
        Column(f"{100 * settings.level:g} % interval", ("low", "high"), judged.interval_hint(methods)),
        Column("Verdict", ("verdict", "margin"), f"margin of equivalence {settings.margin:g}", numeric=False),
        *(
            Column(f"p, {of.name}", (f"p_{of.name}", f"holm_{of.name}"), f"{of.about}; adjusted by Holm over the rows")
            for of in found.contests[0].tests
        ),
        Column("Cohen's d", ("standardised",), "mean difference over its sd over seeds"),
        Column("Detectable Δ", ("detectable",), "the smallest that these seeds and images find with 80 % power"),
        Column("Patients needed", ("patients_margin",), "for 80 % power to find a difference as large as the margin"),
        Column("Seeds needed", ("seeds_margin",), "the same, on these test images"),
        Column("To show equivalence", ("patients_equivalence",), "patients for 80 % power, if models are equal"),
    ]
    rows = tuple(_row(judged, contest) for contest in found.contests)
    caption = f"Differences to the baseline: {found.dataset}. {title}, {judged.difference_words}."
    notes = (*_NOTES, *shown.other_seeds(found, settings.metric), *found.cautions)
    return Table(name, caption, tuple(columns), rows, simulated, notes)


def _row(judged: Judged, contest: Contest) -> tuple[Value, ...]:
    effect = contest.effects[judged.settings.metric]
    verdict = contest.equivalence.verdict if contest.equivalence else ""
    reason = "no seed in common: the difference of the models' means" if effect.unpaired else effect.reason
    values = [
        text(contest.first),
        Value(signed(effect.value), (effect.value, effect.sd, len(effect.seeds)), effect.value, reason),
        span(shown.of_difference(effect)[1], signed, effect.reason or "replicates are all alike"),
        Value(verdict or "—", (verdict, judged.settings.margin), verdict, "" if verdict else effect.reason),
    ]
    for test, adjusted in zip(contest.tests, contest.adjusted, strict=True):
        values.append(Value(p_value(adjusted), (test.p, adjusted), adjusted, test.reason))
    needed = contest.needed
    values.append(number(effect.standardised, lambda x: signed(x, 2), "no spread over seeds is known"))
    values.append(number(needed.detectable, fixed, needed.seeds.reason))
    values += [_needed(of) for of in (needed.patients, needed.seeds, needed.equivalence)]
    return tuple(values)


def _needed(of: Needed) -> Value:
    return number(of.number, count, of.reason)


_NOTES = (
    "Verdict, by two one-sided tests at 2.5 % and the test of the column p, t, adjusted by Holm: equivalent, within the"
    " margin; else better or worse, not 0; else non-inferior, above minus the margin; else inconclusive.",
    "DeLong, permutation and McNemar ask whether these trained networks would differ on other patients, Wilcoxon"
    " whether networks trained again would on these; t, with several seeds, both at once, as interval and verdict do.",
    "Needed: with the spread that was seen, at the level that Holm's adjustment starts from.",
)
