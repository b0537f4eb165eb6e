"""How many seeds, or how many patients, would be needed, and what can be seen with those at hand.

All by the test that is made: its standard error, of which more patients shrink one part and more seeds the other, its
critical value, and its level after Holm's adjustment. Planned is for the smallest difference that matters. How many
the observed difference would have needed is no new evidence: it follows from p (Hoenig, Heisey, The American
Statistician 55:19-24, 2001). The standard deviations are taken for known, and a few seeds know theirs badly: with 3
the true one may well be half or six times what was observed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, stdtrit

from attn_jax.errors import UserError
from attn_jax.evaluation.standard_error import Part, StandardError

ALPHA = 0.05
POWER = 0.8
_OUTCOMES = 1000
MOST = 10**9  # more seeds or patients than this are as good as infinitely many


class Needed(NamedTuple):
    """How many are needed (None: `reason` says why)."""

    number: int | None
    reason: str = ""


def detectable(error: StandardError, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest difference that the seeds and patients at hand tell from 0 with this power; 0 without any spread.

    The variance over seeds, and with it the critical value, is as uncertain as chi-square says, that over patients
    taken for known.

    Raises:
        UserError: not 0 < alpha < power < 1.
    """
    _check(alpha, power)
    reach = _reach(error, alpha / 2)
    return _solved(lambda size: float(ndtr(size - reach).mean()), power) * error.total


def patients(error: StandardError, smallest: float, *, alpha: float = ALPHA, power: float = POWER) -> Needed:
    """Patients of the same mix to tell a difference of `smallest` from 0, with as many seeds as there are.

    Raises:
        UserError: `smallest` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, smallest)
    return _patients(error, detectable(error, alpha=alpha, power=power), smallest)


def patients_for_equivalence(
    error: StandardError, margin: float, *, alpha: float = ALPHA, power: float = POWER
) -> Needed:
    """Patients to find two models equivalent that are equal: two one-sided tests within `margin`, each at alpha / 2.

    Raises:
        UserError: `margin` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, margin)
    reach = _reach(error, alpha / 2)
    shown = _solved(lambda size: float(np.maximum(0, 2 * ndtr(size - reach) - 1).mean()), power) * error.total
    return _patients(error, shown, margin)


def seeds(error: StandardError, smallest: float, *, alpha: float = ALPHA, power: float = POWER) -> Needed:
    """Seeds, of each model where they are not paired, to tell a difference of `smallest` from 0 with these patients.

    Raises:
        UserError: `smallest` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, smallest)
    if not error.seeds:
        return Needed(None, "one seed: how far retraining moves the numbers is not known")

    def enough(number: int) -> bool:
        parts = tuple(Part(of.variance * (of.df + 1) / number, number - 1) for of in error.seeds)
        return detectable(error._replace(seeds=parts), alpha=alpha, power=power) <= smallest

    found = _fewest(enough)
    return Needed(found) if found else Needed(None, "no number of seeds is enough with these patients")


def _patients(error: StandardError, reached: float, wanted: float) -> Needed:
    """Patients with whom what is `reached` now shrinks to `wanted`, at an unchanged critical value: it would rise as
    the part over patients shrinks, so that fewer patients would seem to do."""
    if error.total <= 0:
        return Needed(None, "the standard error is 0")
    times = reached / error.total
    over_seeds, part = sum(of.variance for of in error.seeds), error.patients

    def enough(number: int) -> bool:
        return times**2 * (over_seeds + part.variance * (part.df + 1) / number) <= wanted**2

    found = _fewest(enough)
    return Needed(found) if found else Needed(None, "no number of patients is enough with these seeds")


def _reach(error: StandardError, tail: float) -> np.ndarray:
    """How far an estimate must lie from what is tested, in standard errors, at each of many equally likely outcomes of
    the variances over seeds."""
    if error.total <= 0:
        return np.zeros(1)
    chances = (np.arange(_OUTCOMES) + 0.5) / _OUTCOMES
    over_seeds = [of.variance * 2 * gammaincinv(of.df / 2, chances) / of.df for of in error.seeds]
    # Those of two models are independent: an order of its own for the second.
    seen = [of if k == 0 else np.random.default_rng(k).permutation(of) for k, of in enumerate(over_seeds)]
    weighted, total = np.zeros(_OUTCOMES), np.zeros(_OUTCOMES)
    for variance, df in [*zip(seen, (of.df for of in error.seeds), strict=True), tuple(error.patients)]:
        weighted, total = weighted - variance * stdtrit(df, tail), total + variance
    return weighted / np.sqrt(total) / error.total


def _solved(chance: Callable[[float], float], power: float) -> float:
    highest = 1.0
    while chance(highest) < power:
        highest *= 2
    return float(brentq(lambda size: chance(size) - power, 0, highest))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The fewest from 2 on, by doubling and halving."""
    too_few, many = 1, 2
    while not enough(many):
        if many > MOST:
            return None
        too_few, many = many, 2 * many
    while many - too_few > 1:
        middle = (too_few + many) // 2
        too_few, many = (too_few, middle) if enough(middle) else (middle, many)
    return many


def _check(alpha: float, power: float, smallest: float = 1.0) -> None:
    if not 0 < alpha < power < 1:
        raise UserError(f"alpha {alpha:g}, power {power:g}: 0 < alpha < power < 1 must hold; 0.05 and 0.8 are usual")
    if not smallest > 0:
        raise UserError(f"{smallest:g} is not above 0; give the smallest difference that matters, such as 0.01")
