"""Several models on several data sets: is one better in general? Demsar, JMLR 7:1-30 (2006), and what came after.

`values[i, j]` is what model j reaches on data set i, one number each (a mean over seeds, say) and higher is better:
turn a loss round before. Numbers closer than 1e-12 count as equal, so that rounding neither breaks nor makes ties.

How few data sets are too few: below 5 there are ranks and no test. From 5 on, Iman and Davenport's F is the test to
read; the chi-square's p is given too, but it is rough (too large) up to 10 data sets or 5 models. Friedman and Nemenyi
want 3 models; two are a Wilcoxon test. With N data sets Wilcoxon's p cannot be smaller than 2^(1 - N): 0.0625 for 5.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from attn_jax.errors import UserError
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.sign_flips import signed_rank_p

FEWEST_DATASETS = 5
FEWEST_MODELS = 3
_DECIMALS = 12


class Friedman(NamedTuple):
    """Whether any model differs: statistics and p values (None: `undefined` says why by field), and a `caution`."""

    chi_square: float | None
    chi_square_p: float | None
    f: float | None
    f_p: float | None
    caution: str | None
    undefined: dict[str, str]


class Nemenyi(NamedTuple):
    """Which models differ by mean ranks: None, and a `reason`, where there is no test.

    `groups` are the bars of a critical-difference diagram: the largest sets of two or more models of which the best and
    the worst are not significantly different, as columns of `values`, best first. They overlap.
    """

    critical_difference: float | None
    p: Float[np.ndarray, "models models"] | None
    groups: tuple[tuple[int, ...], ...] | None
    reason: str | None


class Pair(NamedTuple):
    """Two columns of `values`, the two-sided p of their difference, and the same adjusted for all pairs by Holm."""

    first: int
    second: int
    p: float
    adjusted: float | None


class Wilcoxon(NamedTuple):
    """Pairs (None, and a `reason`, where there is no test) and the smallest p, and adjusted p, that could come out."""

    pairs: tuple[Pair, ...] | None
    smallest_p: float | None
    smallest_adjusted: float | None
    reason: str | None


class Comparison(NamedTuple):
    """Everything about one table of values; `against_baseline` is None without a baseline."""

    ranks: Float[np.ndarray, "models"]
    friedman: Friedman
    nemenyi: Nemenyi
    all_pairs: Wilcoxon
    against_baseline: Wilcoxon | None


def compare(
    values: Float[np.ndarray, "datasets models"], *, baseline: int | None = None, alpha: float = 0.05
) -> Comparison:
    """`average_ranks`, `friedman`, `nemenyi` and `wilcoxon_holm`, the last also against column `baseline`."""
    against = None if baseline is None else wilcoxon_holm(values, baseline)
    return Comparison(average_ranks(values), friedman(values), nemenyi(values, alpha), wilcoxon_holm(values), against)


def average_ranks(values: Float[np.ndarray, "datasets models"]) -> Float[np.ndarray, "models"]:
    """Mean over the data sets of each model's rank: 1 is the best, ties share theirs; NaN without data sets."""
    ranks = _ranks(values)
    return ranks.mean(axis=0) if len(ranks) else np.full(ranks.shape[1], np.nan)


def friedman(values: Float[np.ndarray, "datasets models"]) -> Friedman:
    """Friedman's chi-square (k - 1 degrees of freedom) and Iman and Davenport's F (k - 1 and (k - 1)(N - 1)).

    The chi-square is corrected for ties, which Demsar's formula is not (without ties both are equal), so that
    F = (N - 1) chi2 / (N (k - 1) - chi2) is the F of an analysis of variance of the ranks. Where all data sets rank
    alike F is infinite, so None, and its p is the exact one: m^(1 - N) with m different orders of that ranking.
    """
    ranks = _ranks(values)
    count, models = ranks.shape
    names = ("chi_square", "chi_square_p", "f", "f_p")
    reason = _too_few(count, models, FEWEST_MODELS)
    if reason is None and (ranks == ranks[0, 0]).all():
        reason = "all models are equal on every data set"
    if reason is not None:
        return Friedman(None, None, None, None, None, dict.fromkeys(names, reason))
    chi_square, chi_square_p = map(float, stats.friedmanchisquare(*ranks.T))
    rough = count <= 10 or models <= 5
    caution = "the chi-square's p is rough up to 10 data sets or 5 models: read the F" if rough else None
    if (ranks == ranks[0]).all():
        shared = np.unique(ranks[0], return_counts=True)[1].tolist()
        orders = math.factorial(models) // math.prod(math.factorial(models_of_rank) for models_of_rank in shared)
        undefined = {"f": "all data sets rank the models alike: F is infinite"}
        return Friedman(chi_square, chi_square_p, None, float(orders) ** (1 - count), caution, undefined)
    f = (count - 1) * chi_square / (count * (models - 1) - chi_square)
    f_p = float(stats.f.sf(f, models - 1, (models - 1) * (count - 1)))
    return Friedman(chi_square, chi_square_p, f, f_p, caution, {})


def nemenyi(values: Float[np.ndarray, "datasets models"], alpha: float = 0.05) -> Nemenyi:
    """All pairs of models by their average ranks, after Friedman's test has said that there is a difference at all.

    Two models differ when their average ranks are q sqrt(k (k + 1) / 6 N) apart or more, with q the Studentized range's
    upper `alpha` point over sqrt(2). Whether they do depends on the other models in the table; `wilcoxon_holm` does not
    have this fault (Benavoli, Corani, Mangili, JMLR 17(5):1-10, 2016).

    Raises:
        UserError: `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha: {alpha:g} is not between 0 and 1; 0.05 is usual")
    ranks = average_ranks(values)
    count, models = np.shape(values)
    reason = _too_few(count, models, FEWEST_MODELS)
    if reason is not None:
        return Nemenyi(None, None, None, reason)
    unit = math.sqrt(models * (models + 1) / (6 * count)) / math.sqrt(2)
    critical = float(stats.studentized_range.isf(alpha, models, np.inf)) * unit
    p = stats.studentized_range.sf(np.abs(ranks[:, None] - ranks) / unit, models, np.inf)
    return Nemenyi(critical, p, _groups(ranks, critical), None)


def wilcoxon_holm(values: Float[np.ndarray, "datasets models"], baseline: int | None = None) -> Wilcoxon:
    """Wilcoxon's signed-rank test, two-sided, of all pairs of models, or of each against column `baseline`.

    p is exact, with ties among the differences, too. A difference of 0 is ranked and counts for neither side (Pratt),
    which gives the exact p of Demsar's even split; a pair without any other difference has p = 1. The adjusted p values
    control the chance of one false finding among all pairs of this call (Holm 1979).

    Raises:
        UserError: `baseline` is no column of `values`.
    """
    rounded = _rounded(values)
    count, models = rounded.shape
    if baseline is not None and not 0 <= baseline < models:
        raise UserError(f"baseline: there is no model {baseline}; columns are 0 to {models - 1}")
    reason = _too_few(count, models, 2)
    if reason is not None:
        return Wilcoxon(None, None, None, reason)
    if baseline is None:
        columns = list(itertools.combinations(range(models), 2))
    else:
        columns = [(baseline, other) for other in range(models) if other != baseline]
    p = [signed_rank_p(rounded[:, first] - rounded[:, second]) for first, second in columns]
    pairs = tuple(Pair(*pair, own, adjusted) for pair, own, adjusted in zip(columns, p, holm(p), strict=True))
    smallest = 2.0 ** (1 - count)
    return Wilcoxon(pairs, smallest, min(1.0, len(pairs) * smallest), None)


def _rounded(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    missing = np.argwhere(~np.isfinite(array))
    if len(missing):
        row, column = map(int, missing[0])
        raise UserError(
            f"values: model {column} has no finite value on data set {row}; leave one of them out of the comparison"
        )
    return np.round(array, _DECIMALS)


def _ranks(values: np.ndarray) -> np.ndarray:
    rounded = _rounded(values)
    return stats.rankdata(-rounded, axis=1) if rounded.size else rounded


def _too_few(datasets: int, models: int, fewest_models: int) -> str | None:
    if datasets < FEWEST_DATASETS:
        return f"{datasets} data sets: a test over data sets wants {FEWEST_DATASETS} or more"
    if models < fewest_models:
        return f"{models} models: this test wants {fewest_models} or more"
    return None


def _groups(ranks: np.ndarray, critical: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(ranks, kind="stable")
    ends = [int(np.sum(ranks[order] - ranks[first] < critical)) for first in order]
    # An interval that ends where the one before it does lies inside that one.
    starts = [i for i, end in enumerate(ends) if end - i > 1 and (i == 0 or end > ends[i - 1])]
    return tuple(tuple(order[i : ends[i]].tolist()) for i in starts)
