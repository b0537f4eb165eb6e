"""Many results in one table, and their means over seeds."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from attn_jax.errors import UserError
from attn_jax.evaluation.metrics import METRICS
from attn_jax.evaluation.records import Result

SEED = "seed"


@dataclasses.dataclass(frozen=True)
class Mean:
    """Mean and standard deviation (n - 1) over the `n` seeds that have the metric; None where it does not exist."""

    mean: float | None
    sd: float | None
    n: int


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a leaderboard: all labels but the seed, the test images it is about, and each metric's mean."""

    labels: dict[str, Any]
    test_set: str
    seeds: tuple[Any, ...]
    metrics: dict[str, Mean]


def leaderboard(results: Iterable[tuple[Mapping[str, Any], Result]]) -> pd.DataFrame:
    """`rows` as a table: the labels, `test_set`, `seeds` (their number), and `<metric>`, `<metric>_sd`, `<metric>_n` of
    each metric; NaN where a mean or deviation does not exist."""
    lines = []
    for row in rows(results):
        line = {**row.labels, "test_set": row.test_set, "seeds": len(row.seeds)}
        for metric, found in row.metrics.items():
            line[metric] = np.nan if found.mean is None else found.mean
            line[f"{metric}_sd"] = np.nan if found.sd is None else found.sd
            line[f"{metric}_n"] = found.n
        lines.append(line)
    return pd.DataFrame(lines)


def rows(results: Iterable[tuple[Mapping[str, Any], Result]]) -> list[Row]:
    """Means over seeds, one row for each setting of all other labels, in order of appearance.

    Results on different test images never meet in one row, and rows with different `test_set` are not comparable.

    Raises:
        UserError: two results have the same labels, seed included: a copy would count as a repeat.
    """
    grouped: dict[tuple[Any, ...], list[tuple[Any, Result]]] = {}
    names: dict[tuple[Any, ...], dict[str, Any]] = {}
    for labels, result in results:
        others = {name: value for name, value in labels.items() if name != SEED}
        key = (*sorted((name, str(value)) for name, value in others.items()), result.test_set)
        seed = labels.get(SEED)
        if any(seed == known for known, _ in grouped.get(key, [])):
            raise UserError(f"two results for {', '.join(f'{n}={v}' for n, v in labels.items())}: seeds must differ")
        grouped.setdefault(key, []).append((seed, result))
        names.setdefault(key, others)
    return [
        Row(names[key], key[-1], tuple(seed for seed, _ in group), _means([result for _, result in group]))
        for key, group in grouped.items()
    ]


def _means(results: list[Result]) -> dict[str, Mean]:
    means = {}
    for metric in METRICS:
        known = [value for result in results if (value := result.metrics.get(metric)) is not None]
        mean = float(np.mean(known)) if known else None
        sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
        means[metric] = Mean(mean, sd, len(known))
    return means
