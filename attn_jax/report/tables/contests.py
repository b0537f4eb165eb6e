"""What differs from the baseline: effects first, then intervals, then tests, then how many it would take."""

from collections.abc import Sequence

from attn_jax.evaluation import shown
from attn_jax.evaluation.comparing import Contest, Effect
from attn_jax.evaluation.paired_tests import Test
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


def pairs(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a pair of models; None where there are no others than those of one model with its baseline."""
    found, settings = judged.found, judged.settings
    if len(found.pairs) < 2:
        return None
    title = metric_title(settings.metric)
    methods = [shown.of_difference(pair.effect)[0] for pair in found.pairs]
    columns = [
        Column("Model", ("model",), numeric=False),
        Column("less", ("less",), numeric=False),
        Column(f"Δ {title}", ("delta", "delta_sd", "seeds"), "over the seeds that both have"),
        Column(f"{100 * settings.level:g} % interval", ("low", "high"), judged.interval_hint(methods)),
        *(
            Column(f"p, {of.name}", (f"p_{of.name}", f"holm_{of.name}"), f"{of.about}; adjusted by Holm over all pairs")
            for of in found.pairs[0].tests
        ),
    ]
    rows = []
    for pair in found.pairs:
        told = [text(pair.first), text(pair.second), *_difference(pair.effect)]
        rows.append((*told, *_p(pair.tests, pair.adjusted)))
    caption = f"All pairs of models: {found.dataset}. {title}, {judged.difference_words}."
    return Table(name, caption, tuple(columns), tuple(rows), simulated, (_TESTS,))


def _difference(effect: Effect) -> list[Value]:
    reason = "no seeds to pair: the difference of the models' means" if effect.unpaired else effect.reason
    return [
        Value(signed(effect.value), (effect.value, effect.sd, len(effect.seeds)), effect.value, reason),
        span(shown.of_difference(effect)[1], signed, effect.reason or "replicates are all alike"),
    ]


def _p(tests: Sequence[Test], adjusted: Sequence[float | None]) -> list[Value]:
    return [Value(p_value(p), (of.p, p), p, of.reason) for of, p in zip(tests, adjusted, strict=True)]


def _row(judged: Judged, contest: Contest) -> tuple[Value, ...]:
    effect = contest.effects[judged.settings.metric]
    verdict = contest.equivalence.verdict if contest.equivalence else ""
    values = [
        text(contest.first),
        *_difference(effect),
        Value(verdict or "—", (verdict, judged.settings.margin), verdict, "" if verdict else effect.reason),
    ]
    values += _p(contest.tests, contest.adjusted)
    needed = contest.needed
    values.append(number(effect.standardised, lambda x: signed(x, 2), "no spread over seeds is known"))
    values.append(number(needed.detectable, fixed, needed.seeds.reason))
    values += [_needed(of) for of in (needed.patients, needed.seeds, needed.equivalence)]
    return tuple(values)


def _needed(of: Needed) -> Value:
    return number(of.number, count, of.reason)


_TESTS = (
    "DeLong, permutation and McNemar ask whether these trained networks would differ on other patients, Wilcoxon"
    " whether networks trained again would on these; t, with several seeds, both at once, as interval and verdict do."
)
_NOTES = (
    "Verdict, by two one-sided tests at 2.5 % and the test of the column p, t, adjusted by Holm: equivalent, within the"
    " margin; else better or worse, not 0; else non-inferior, above minus the margin; else inconclusive.",
    _TESTS,
    "Needed: with the spread that was seen, at the level that Holm's adjustment starts from.",
)
