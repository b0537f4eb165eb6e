"""Which of a number's intervals is shown: the one that docs/coverage.md finds to hold the truth as often as it says."""

from collections.abc import Iterator

from attn_jax.evaluation.comparing import Effect
from attn_jax.evaluation.evidence import OnDataset, Value
from attn_jax.evaluation.intervals import NO_INTERVAL, Interval
from attn_jax.evaluation.resampled import PATIENTS, SEEDS_AND_PATIENTS


def of_value(value: Value, metric: str, several: bool) -> tuple[str, Interval | None]:
    """The name of the interval of a metric's mean over seeds that is shown, and the interval, None where there is none.

    Args:
        value: what is known of the metric.
        metric: its name.
        several: whether seeds count where the model has several.
    """
    if metric in NO_INTERVAL:
        return "", None
    if value.intervals.get("wilson"):
        return "wilson", value.intervals["wilson"]
    if several and SEEDS_AND_PATIENTS in value.intervals:
        return SEEDS_AND_PATIENTS, _wide(value.intervals.get(SEEDS_AND_PATIENTS))
    name = "delong" if value.intervals.get("delong") else PATIENTS
    return name, _wide(value.intervals.get(name))


def of_difference(effect: Effect) -> tuple[str, Interval | None]:
    """The same of a difference: over seeds and patients where both models have several seeds, else over patients."""
    name = "seeds and patients t" if "seeds and patients t" in effect.intervals else "patients t"
    return name, _wide(effect.intervals.get(name))


def why_none(value: Value) -> str:
    """Why nothing is shown by `of_value` of a metric that has a value."""
    return value.undefined.get("intervals", "all replicates are alike, which tells nothing of how far it would move")


def other_seeds(found: OnDataset, metric: str) -> Iterator[str]:
    """Sentences about the contests that are not over all seeds of both models, so that the difference is not that of
    the means."""
    for contest in found.contests:
        effect = contest.effects[metric]
        first, second = (len(found.models[name].seeds) for name in (contest.first, contest.second))
        who = f"{contest.first} and {contest.second} share"
        if effect.unpaired:
            both = {*found.models[contest.first].seeds} & {*found.models[contest.second].seeds}
            yield f"{who} {'1 seed only' if both else 'no seed'}: compared by the means over {first} and {second}."
        elif effect.value is not None and len(effect.seeds) < max(first, second):
            common = f"{len(effect.seeds)} {'seed' if len(effect.seeds) == 1 else 'seeds'}"
            yield f"{who} {common} of {first} and {second}: compared on these alone, not by their means."


def _wide(interval: Interval | None) -> Interval | None:
    """Replicates that are all alike tell nothing of how far the number would move."""
    return interval if interval is not None and interval.high > interval.low else None
