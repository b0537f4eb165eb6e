"""The same numbers on parts of the test images: by sex, site, view, or whatever a column of the table says."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation import replicates
from attn_jax.evaluation.intervals import LEVEL, Interval, percentile
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.weighted import Judged

MOST_GROUPS = 12
FEWEST_IMAGES = 10
UNKNOWN = "unknown"


class Subgroup(NamedTuple):
    """The mean over seeds on one part of the images (None where it is undefined), and its interval over patients."""

    name: str
    images: int
    positives: int | None
    value: float | None
    interval: Interval | None


class Subgroups(NamedTuple):
    """One model by one column: the groups, the worst of them, and the gap between best and worst with its interval.

    Groups of fewer than `FEWEST_IMAGES` images, and those with an undefined value, are neither best nor worst. The
    gap's interval is that of the difference between the two groups that were the best and the worst in the data.
    """

    column: str
    groups: tuple[Subgroup, ...]
    worst: str | None
    gap: float | None
    gap_interval: Interval | None


def columns(panel: Panel) -> tuple[str, ...]:
    """The columns that part the images into 2 to `MOST_GROUPS` groups."""
    if panel.columns is None:
        return ()
    return tuple(str(name) for name in panel.columns if 2 <= panel.columns[name].nunique() <= MOST_GROUPS)


def by_column(
    panel: Panel,
    model: str,
    column: str,
    metric: str,
    *,
    lower_is_better: bool,
    level: float = LEVEL,
    count: int = 1000,
    seed: int = 0,
) -> Subgroups:
    """A metric of a model on each group of a column; an empty cell is the group `unknown`.

    Groups are drawn together, so that patients with images in several groups tie these.

    Raises:
        UserError: no such column, or it has too many values.
    """
    names = _values(panel, column)
    kinds = sorted(set(names.tolist()))
    if len(kinds) > MOST_GROUPS:
        raise UserError(f"column {column!r} has {len(kinds)} values; subgroups are for {MOST_GROUPS} at most")
    rows = [names == kind for kind in kinds]
    points, drawn = [], []
    for of in rows:
        whole, replicated = _judged(panel, model, metric, of, count, seed)
        points.append(whole)
        drawn.append(replicated)
    groups = tuple(
        Subgroup(
            kind, int(of.sum()), _positives(panel, of), None if np.isnan(point) else point, percentile(values, level)
        )
        for kind, of, point, values in zip(kinds, rows, points, drawn, strict=True)
    )
    able = [k for k, group in enumerate(groups) if group.value is not None and group.images >= FEWEST_IMAGES]
    if len(able) < 2:
        return Subgroups(column, groups, None, None, None)
    ordered = sorted(able, key=lambda k: points[k], reverse=lower_is_better)
    worst, best = ordered[0], ordered[-1]
    gap = abs(points[best] - points[worst])
    between = (drawn[best] - drawn[worst]) * (-1 if lower_is_better else 1)
    return Subgroups(column, groups, kinds[worst], gap, percentile(between, level))


def _values(panel: Panel, column: str) -> np.ndarray:
    known: Sequence[str] = [] if panel.columns is None else [str(name) for name in panel.columns]
    if panel.columns is None or column not in known:
        raise UserError(f"no column {column!r} in the predictions.{did_you_mean(column, known)}")
    values = panel.columns[column].astype(str).to_numpy()
    return np.where(values == "", UNKNOWN, values)


def _positives(panel: Panel, rows: Bool[np.ndarray, "images"]) -> int | None:
    return int((panel.label[rows] == panel.first.positive).sum()) if panel.first.binary else None


def _some(
    weighted: Iterator[tuple[slice, np.ndarray]], run: Run, rows: Bool[np.ndarray, "judged"]
) -> Iterator[tuple[slice, np.ndarray]]:
    return ((at, run.seen(weights)[:, rows]) for at, weights in weighted)


def _judged(
    panel: Panel, model: str, metric: str, rows: Bool[np.ndarray, "images"], count: int, seed: int
) -> tuple[float, np.ndarray]:
    """The mean over seeds on some images, and in replicates of all the panel's patients."""
    points, drawn = [], []
    for run in panel.runs[model].values():
        own = run.seen(rows)
        judged = Judged(run.test.rows(own), run.thresholds)
        points.append(float(judged(np.ones((1, int(own.sum()))))[metric][0]))
        weights = replicates.draws(np.random.default_rng(seed), panel.cluster, count)
        drawn.append(replicates.judge(judged, _some(weights, run, own), count)[metric])
    return float(np.mean(points)), np.mean(drawn, axis=0)
