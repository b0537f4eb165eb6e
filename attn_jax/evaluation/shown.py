"""Which of a number's intervals is shown: the one that docs/coverage.md finds to hold the truth as often as it says."""

from attn_jax.evaluation.comparing import Effect
from attn_jax.evaluation.evidence import NO_INTERVAL, Value
from attn_jax.evaluation.intervals import Interval

SEEDS_AND_PATIENTS = "seeds and patients t"
PATIENTS = "patients t"
WITHOUT = NO_INTERVAL
"""Metrics that are shown without an interval, and why."""


def of_value(value: Value, metric: str, several: bool) -> tuple[str, Interval | None]:
    """The name of the interval of a metric's mean over seeds that is shown, and the interval, None where there is none.

    Args:
        value: what is known of the metric.
        metric: its name.
        several: whether seeds count where the model has several.
    """
    if metric in WITHOUT:
        return "", None
    if value.intervals.get("wilson"):
        return "wilson", value.intervals["wilson"]
    if several and SEEDS_AND_PATIENTS in value.intervals:
        return SEEDS_AND_PATIENTS, _wide(value.intervals.get(SEEDS_AND_PATIENTS))
    name = "delong" if value.intervals.get("delong") else "patients bca"
    return name, _wide(value.intervals.get(name))


def of_difference(effect: Effect) -> tuple[str, Interval | None]:
    """The same of a difference: over seeds and patients where both models have several seeds, else over patients."""
    name = SEEDS_AND_PATIENTS if SEEDS_AND_PATIENTS in effect.intervals else PATIENTS
    return name, _wide(effect.intervals.get(name))


def _wide(interval: Interval | None) -> Interval | None:
    """Replicates that are all alike tell nothing of how far the number would move."""
    return interval if interval is not None and interval.high > interval.low else None
