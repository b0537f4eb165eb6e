"""The same numbers on parts of the test images: by sex, site, view, or whatever a column of the table says."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation import exchange, replicates
from attn_jax.evaluation.intervals import FEWEST_OF_A_KIND, LEVEL, LIMITS, NO_INTERVAL, Interval
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.standard_error import StandardError, over_patients
from attn_jax.evaluation.weighted import RANKING, Judged, Ranking

MOST_GROUPS = 12
FEWEST_PATIENTS = 10
UNKNOWN = "unknown"
# Most studies show no gap; these are told apart by the first of the permutations (Besag & Clifford 1991).
_FIRST, _ALL, _ENOUGH = 99, 999, 10
_AT_ONCE = 1 << 20


class Subgroup(NamedTuple):
    """The mean over seeds on one part of the images (None where it is undefined), and its interval over patients, by t
    on the logit scale.

    `fewest` is how many patients have an image of the rarest label (of findings, the rarer answer to one); with fewer
    than `FEWEST_OF_A_KIND` the interval is too narrow, and `caution` says so.
    """

    name: str
    images: int
    positives: int | None
    fewest: int
    value: float | None
    interval: Interval | None
    caution: str = ""


class Subgroups(NamedTuple):
    """One model by one column: the groups, the worst of them, and the gap between best and worst.

    Groups with fewer than `FEWEST_PATIENTS` patients of some label, and those with an undefined value, are neither best
    nor worst. A gap between the best and the worst is above 0 by chance: `p` is the share of permutations with one as
    large, in which patients of the same labels exchange their groups. `adjusted` is Holm's over the model's columns.
    """

    column: str
    groups: tuple[Subgroup, ...]
    worst: str | None
    gap: float | None
    p: float | None
    adjusted: float | None = None
    reason: str = ""


def columns(panel: Panel) -> tuple[str, ...]:
    """The columns that part the images into 2 to `MOST_GROUPS` groups."""
    return tuple(name for name, count in _counts(panel) if 2 <= count <= MOST_GROUPS)


def passed_over(panel: Panel) -> tuple[tuple[str, int], ...]:
    """The columns that have too many values to be groups, and how many."""
    return tuple((name, count) for name, count in _counts(panel) if count > MOST_GROUPS)


def _counts(panel: Panel) -> list[tuple[str, int]]:
    return [] if panel.columns is None else [(str(n), int(panel.columns[n].nunique())) for n in panel.columns]


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

    Raises:
        UserError: no such column, or it has too many values.
    """
    names = _values(panel, column)
    kinds, at = np.unique(names, return_inverse=True)
    if len(kinds) > MOST_GROUPS:
        raise UserError(f"column {column!r} has {len(kinds)} values; subgroups are for {MOST_GROUPS} at most")
    groups = []
    for k, kind in enumerate(kinds.tolist()):
        rows = at == k
        point, interval = _judged(panel, model, metric, rows, level, count, seed)
        fewest, patients = _fewest(panel, rows), "images" if panel.patients is None else "patients"
        caution = ""
        if interval is not None and fewest < FEWEST_OF_A_KIND:
            caution = f"fewer than {FEWEST_OF_A_KIND} {patients} of some label: the interval is too narrow"
        value = None if np.isnan(point) else point
        positives = int((panel.label[rows] == panel.first.positive).sum()) if panel.first.binary else None
        groups.append(Subgroup(kind, int(rows.sum()), positives, fewest, value, interval, caution))
    able = [k for k, group in enumerate(groups) if group.value is not None and group.fewest >= FEWEST_PATIENTS]
    if len(able) < 2:
        reason = f"fewer than two groups with {FEWEST_PATIENTS} patients of each label"
        return Subgroups(column, tuple(groups), None, None, None, reason=reason)
    values = np.array([groups[k].value for k in able], dtype=np.float64)
    worst = able[int(values.argmax() if lower_is_better else values.argmin())]
    gap = float(np.ptp(values))
    p = _permuted(panel, model, metric, at, able, gap, seed)
    return Subgroups(column, tuple(groups), groups[worst].name, gap, p)


def _values(panel: Panel, column: str) -> np.ndarray:
    known: Sequence[str] = [] if panel.columns is None else [str(name) for name in panel.columns]
    if panel.columns is None or column not in known:
        raise UserError(f"no column {column!r} in the predictions.{did_you_mean(column, known)}")
    values = panel.columns[column].astype(str).to_numpy(dtype=str)
    return np.where(values == "", UNKNOWN, values)


def _fewest(panel: Panel, rows: Bool[np.ndarray, "images"]) -> int:
    """Patients with an image of the label that the fewest have; of findings, of the rarer of either answer to any that
    all images together have both of."""
    if panel.first.kind == "single":
        kinds = [panel.label == label for label in range(len(panel.first.classes))]
    else:
        answers = [(of == 1, of == 0) for of in panel.label.T]
        kinds = [answer for both in answers if all(answer.any() for answer in both) for answer in both]
    return min((len(np.unique(panel.cluster[rows & kind])) for kind in kinds), default=0)


def _kinds(panel: Panel) -> Int[np.ndarray, "images"]:
    """The label of each image; of findings a number for each set of answers."""
    if panel.first.kind == "single":
        return panel.label
    return np.unique(np.nan_to_num(panel.label, nan=-1), axis=0, return_inverse=True)[1]


def _judged(
    panel: Panel, model: str, metric: str, rows: Bool[np.ndarray, "images"], level: float, count: int, seed: int
) -> tuple[float, Interval | None]:
    """The mean over seeds on some images, and its interval in replicates of the patients who have one."""
    cluster = np.unique(panel.cluster[rows], return_inverse=True)[1]
    judges = {name: _in_group(run, rows, metric) for name, run in panel.runs[model].items()}
    point = float(np.mean([judge(np.ones((1, len(cluster))))[metric][0] for judge in judges.values()]))
    weights = replicates.draws(np.random.default_rng(seed), cluster, count)
    drawn = [of[metric] for of in replicates.judge_all(judges, weights, count).values()]
    part = over_patients(np.stack(drawn), (len(drawn),), int(cluster.max(initial=-1)) + 1)
    if part is None or np.isnan(point) or metric in NO_INTERVAL:
        return point, None
    lost = float(np.isnan(drawn).any(axis=0).mean())
    return point, StandardError((), part, lost).within(point, LIMITS.get(metric, (0.0, 1.0)), level)


Judge = Callable[[np.ndarray], dict[str, np.ndarray]]


def _in_group(run: Run, rows: Bool[np.ndarray, "images"], metric: str) -> Judge:
    """One metric of a run under weights of a group's images, of which it may have judged some only."""
    own = run.seen(rows)
    judged = _of_rows(run, own, metric)
    if own.sum() == rows.sum():
        return judged
    at = (np.cumsum(rows) - 1)[run.seen(np.arange(len(rows)))[own]]
    return lambda weights: judged(weights[:, at])


def _of_rows(run: Run, rows: Bool[np.ndarray, "judged"], metric: str) -> Judge:
    """One metric of some images under weights of these; of findings the mean over those that all images define, so that
    no group has a mean over others."""
    if run.test.kind == "single":
        return _metric(run, rows, metric)
    judged, at = _metric(run, np.ones(len(rows), bool), metric), np.flatnonzero(rows)

    def widened(weights: np.ndarray) -> dict[str, np.ndarray]:
        whole = np.zeros((len(weights), len(rows)))
        whole[:, at] = weights
        return judged(whole)

    return widened


def _metric(run: Run, rows: Bool[np.ndarray, "judged"], metric: str) -> Judge:
    """One metric of some images under weights; of two classes the ranking alone where no more is asked."""
    test = run.test.rows(rows)
    if metric in RANKING and test.binary:
        return Ranking(*next(iter(test.outcomes().values())))
    return Judged(test, run.thresholds)


def _permuted(
    panel: Panel, model: str, metric: str, group: Int[np.ndarray, "images"], able: list[int], gap: float, seed: int
) -> float:
    """The share of permutations with a gap as large, the data's own among them; 999, or 99 where ten of these have."""
    rng = np.random.default_rng(seed)
    shuffle = exchange.Exchange(panel.cluster, _kinds(panel), group)
    runs = list(panel.runs[model].values())
    judges = [_metric(run, np.ones(len(run.test), bool), metric) for run in runs]

    def hits(number: int) -> int:
        step = max(1, _AT_ONCE // len(group))
        return sum(some(min(step, number - start)) for start in range(0, number, step))

    def some(number: int) -> int:
        groups = shuffle(rng, number)
        means = []
        for weights in ((groups == k).astype(np.float64) for k in able):
            each = [judge(run.seen(weights))[metric] for run, judge in zip(runs, judges, strict=True)]
            means.append(np.mean(each, axis=0))
        return int((~(np.ptp(means, axis=0) < gap - 1e-12)).sum())

    first = hits(_FIRST)
    if first >= _ENOUGH:
        return (first + 1) / (_FIRST + 1)
    return (first + hits(_ALL - _FIRST) + 1) / (_ALL + 1)
