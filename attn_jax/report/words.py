"""What the evidence says in words: effects first, then how sure, and what these data could have shown at all."""

from collections.abc import Iterable, Sequence

from attn_jax.evaluation.comparing import Contest
from attn_jax.evaluation.shown import of_difference, other_seeds
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import count, fixed, metric_title, p_value, plural, signed

VERDICTS = {
    "better": "better than its baseline, by more or less than that",
    "worse": "worse than its baseline, by more or less than that",
    "equivalent": "equivalent to it",
    "non-inferior": "not inferior to it",
    "inconclusive": "inconclusive",
}
MOST_NAMED = 4


def paragraph(judged: Judged) -> tuple[str, ...]:
    """Sentences about the differences to the baseline; none where there is nothing to compare."""
    contests = [of for of in judged.found.contests if of.effects[judged.settings.metric].value is not None]
    if not contests:
        return ()
    seeds = other_seeds(judged.found, judged.settings.metric)
    effects = [*_effects(judged, contests), *seeds]
    return (*effects, *_verdicts(judged, contests), *_reach(judged, contests), _limits(judged))


def _effects(judged: Judged, contests: Sequence[Contest]) -> Iterable[str]:
    metric = judged.settings.metric
    title = metric_title(metric)
    values = [of.effects[metric].value for of in contests]
    adjusted = [of.adjusted[0] for of in contests if of.adjusted[0] is not None]
    low, high = min(v for v in values if v is not None), max(v for v in values if v is not None)
    found = [of for of in contests if of.adjusted[0] is not None and of.adjusted[0] < 1 - judged.settings.level]
    baseline = _baseline(judged, contests)
    span = (
        f"differences in {title} from {signed(low)} to {signed(high)}"
        if len(contests) > 1
        else (f"difference in {title} {signed(low)}{_ends(judged, contests[0])}")
    )
    if not adjusted:
        yield f"{span[0].upper()}{span[1:]} to {baseline}; no test: {contests[0].effects[metric].reason}."
        return
    if not found:
        smallest = f", smallest p {p_value(min(adjusted))} after Holm's adjustment"
        nobody = f"None of {plural(len(contests), 'arm')} is" if len(contests) > 1 else f"{contests[0].first} is not"
        yield f"{nobody} told from {baseline} by the t test over {judged.difference_units}: {span}{smallest}."
        return
    named = [f"{of.first} {signed(of.effects[metric].value)}{_ends(judged, of)}" for of in found[:MOST_NAMED]]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    yield (
        f"{plural(len(found), 'arm differs', 'arms differ')} in {title} from {baseline} by the t test over"
        f" {judged.difference_units}, after Holm's adjustment over {plural(len(adjusted), 'comparison')}:"
        f" {', '.join(named)}{more}."
    )
    others = [v for of in contests if of not in found and (v := of.effects[metric].value) is not None]
    if others:
        span = signed(others[0]) if len(others) == 1 else f"{signed(min(others))} to {signed(max(others))}"
        yield f"Not told from it: {plural(len(others), 'arm')}, with {span}."


def _baseline(judged: Judged, contests: Sequence[Contest]) -> str:
    names = {of.second for of in contests}
    if len(names) > 1:
        return "its baseline"
    name = names.pop()
    return f"{name} ({fixed(judged.found.models[name].metrics[judged.settings.metric].value)})"


def _ends(judged: Judged, contest: Contest) -> str:
    _, interval = of_difference(contest.effects[judged.settings.metric])
    return (
        f" ({100 * judged.settings.level:g} % interval {signed(interval.low)} to {signed(interval.high)})"
        if interval
        else ""
    )


def _verdicts(judged: Judged, contests: Sequence[Contest]) -> Iterable[str]:
    of: dict[str, list[str]] = {}
    for contest in contests:
        if contest.equivalence:
            of.setdefault(contest.equivalence.verdict, []).append(contest.first)
    parts = []
    for verdict, words in VERDICTS.items():
        if names := of.get(verdict):
            shown = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} arms"
            parts.append(f"{shown} {words}")
    if parts:
        yield f"With a margin of ±{judged.settings.margin:g}, adjusted by Holm: {'; '.join(parts)}."


def _reach(judged: Judged, contests: Sequence[Contest]) -> Iterable[str]:
    """What size of difference these data can show, by the test that was made."""
    sizes = [d for of in contests if (d := of.needed.detectable) is not None]
    if not sizes:
        return
    have = judged.panel.patients or judged.found.images
    low, high = fixed(min(sizes)), fixed(max(sizes))
    span = low if low == high else f"{low} to {high}"
    needed = [of.needed.patients.number for of in contests if of.needed.detectable is not None]
    enough = [number for number in needed if number is not None]
    if enough and max(enough) <= have:
        more = "these are enough" if max(enough) == have else "fewer would do"
    elif enough:
        more = f"it takes {'up to ' if len(needed) > 1 else ''}{count(max(enough))} {judged.who}"
    else:
        more = "with these seeds no number is enough"
    if enough and len(enough) < len(needed):
        more += f", and for {len(needed) - len(enough)} with these seeds no number is enough"
    tried = sum(of.effects[judged.settings.metric].p is not None for of in contests)
    alpha = fixed((1 - judged.settings.level) / max(1, tried))
    size = f"for one of {judged.settings.margin:g} {more}"
    varies = judged.who if judged.difference_units == judged.who else f"seeds and {judged.who}"
    told = f"If {varies} vary as they seem to here ({count(have)} {judged.who}), a difference of {span} would"
    yield f"{told} be found four times in five, at the level of Holm's first step ({alpha}); {size}."


def _limits(judged: Judged) -> str:
    found = judged.found
    seeds = sorted({len(model.seeds) for name, model in found.models.items() if name not in found.controls})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    runs = f"{span} {'seed' if seeds == [1] else 'seeds'} an arm"
    other = "a claim about other hospitals needs their images"
    if seeds[0] == 1:
        return f"One run says nothing about retraining ({runs}), and {other}."
    if seeds[0] < 6:
        return f"{runs[0].upper() + runs[1:]} tell roughly how far retraining moves the numbers, and {other}."
    return f"{runs[0].upper() + runs[1:]}; {other}."
