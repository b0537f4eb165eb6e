"""How many seeds, or how many patients, would have been needed, and what can be seen with those at hand.

`alpha` is two-sided everywhere: a decision is made by the 1 - alpha confidence interval, which excludes 0 (there is a
difference), lies above -margin (not inferior) or within the margins (equivalent). `power` is the chance of deciding so.

The number needed for the observed difference is no new evidence: it follows from the p value (Hoenig, Heisey, The
American Statistician 55:19-24, 2001). The number for the smallest difference that matters is the one to plan with. Both
take the standard deviation for known, and a few seeds know it badly: with 3 the true one may well be half or six times
what was observed.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from attn_jax.errors import UserError

ALPHA = 0.05
POWER = 0.8
MOST = 10**9  # more seeds or patients than this are as good as infinitely many


class Needed(NamedTuple):
    """How many are needed; None: `undefined` says why by field.

    `observed` to see the observed difference, `smallest` to see the smallest one of interest, and `detectable` the
    smallest difference that the number at hand sees with this power.
    """

    observed: int | None
    smallest: int | None
    detectable: float | None
    undefined: dict[str, str]


class NeededForMargin(NamedTuple):
    """Patients needed for a margin, and the smallest margin that the patients at hand could show (0: they could show
    superiority); None: `undefined` says why by field."""

    patients: int | None
    margin: float | None
    undefined: dict[str, str]


def seeds(
    mean: float | None, sd: float | None, n: int, smallest: float, *, alpha: float = ALPHA, power: float = POWER
) -> Needed:
    """Pairs of seeds for a two-sided paired t test, by the noncentral distribution of t^2.

    Args:
        mean: mean of the differences, one for each seed.
        sd: their standard deviation (n - 1); None where there is one seed.
        n: seeds at hand.
        smallest: the smallest difference of interest, in the units of `mean`.

    Raises:
        UserError: `smallest` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, "smallest", smallest)
    what = "standard deviation over seeds" if n > 1 else "standard deviation: one seed has none"
    reason = _spread_reason(what, sd if n > 1 else None)
    if sd is None or reason is not None:
        return Needed(None, None, None, dict.fromkeys(("observed", "smallest", "detectable"), str(reason)))
    highest = 1.0
    while _t_power(highest, n, alpha) < power:
        highest *= 2
    effect = float(brentq(lambda size: _t_power(size, n, alpha) - power, 0, highest, xtol=1e-12))
    return _needed(mean, smallest, effect * sd, lambda difference: _pairs(difference / sd, alpha, power), "seeds")


def patients(
    difference: float | None,
    error: float | None,
    n: int,
    smallest: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
) -> Needed:
    """Patients for the 1 - alpha interval of a difference to exclude 0: n (z_(1 - alpha/2) + z_power)^2 s^2 / delta^2.

    Args:
        difference: delta, as observed on the `n` patients at hand.
        error: its standard error s (DeLong, bootstrap), which more patients of the same mix shrink with 1 / sqrt(n).
        n: patients at hand; where patients have several images, patients and not images.
        smallest: the smallest difference of interest, in the units of `difference`.

    Raises:
        UserError: `smallest` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, "smallest", smallest)
    reason = _spread_reason("standard error", error)
    if error is None or reason is not None:
        return Needed(None, None, None, dict.fromkeys(("observed", "smallest", "detectable"), str(reason)))
    detectable = float(ndtri(1 - alpha / 2) + ndtri(power)) * error
    return _needed(difference, smallest, detectable, lambda wanted: _scaled(n, detectable, wanted), "patients")


def patients_for_noninferiority(
    error: float | None, n: int, margin: float, *, expected: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> NeededForMargin:
    """Patients for the lower end of the 1 - alpha interval to lie above -margin: one-sided, at level alpha / 2.

    Args:
        error: standard error of the difference (new minus old, higher is better) on the `n` patients at hand.
        n: patients at hand.
        margin: the loss that would be accepted, above 0.
        expected: the true difference that is planned with.

    Raises:
        UserError: `margin` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, "margin", margin)
    reason = _spread_reason("standard error", error)
    if error is None or reason is not None:
        return NeededForMargin(None, None, dict.fromkeys(("patients", "margin"), str(reason)))
    reach = (ndtri(1 - alpha / 2) + ndtri(power)) * error
    smallest_margin = max(0.0, float(reach - expected))
    if expected <= -margin:
        return NeededForMargin(None, smallest_margin, {"patients": f"a difference of {expected:g} is inferior"})
    return _for_margin(_scaled(n, reach, expected + margin), smallest_margin)


def patients_for_equivalence(
    error: float | None, n: int, margin: float, *, expected: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> NeededForMargin:
    """Patients for the 1 - alpha interval to lie within [-margin, margin]: two one-sided tests at alpha / 2 each.

    The usual two one-sided tests at 0.05 each are `alpha` 0.10. Power is exact for a normal difference of known
    variance, Phi((margin - expected) / s - z) + Phi((margin + expected) / s - z) - 1 with z = z_(1 - alpha/2).

    Args:
        error: standard error s of the difference on the `n` patients at hand.
        n: patients at hand.
        margin: the largest difference, in either direction, that does not matter; above 0.
        expected: the true difference that is planned with.

    Raises:
        UserError: `margin` is not above 0, or not 0 < alpha < power < 1.
    """
    _check(alpha, power, "margin", margin)
    reason = _spread_reason("standard error", error)
    if error is None or reason is not None:
        return NeededForMargin(None, None, dict.fromkeys(("patients", "margin"), str(reason)))
    z, enough, off = ndtri(1 - alpha / 2), ndtri((1 + power) / 2), abs(expected)

    def excess(limit: float, spread: float) -> float:
        return float(ndtr((limit - off) / spread - z) + ndtr((limit + off) / spread - z) - 1 - power)

    # At the one end the power is 0 or less, at the other both tests have at least (1 + power) / 2.
    widest = (off + (z + enough) * error) * (1 + 1e-9)
    smallest_margin = float(brentq(lambda limit: excess(limit, error), z * error, widest, rtol=1e-12))
    if off >= margin:
        return NeededForMargin(None, smallest_margin, {"patients": f"a difference of {expected:g} is not equivalent"})
    narrow, wide = (margin - off) / (z + enough) * (1 - 1e-9), margin / z
    needed = float(brentq(lambda spread: excess(margin, spread), narrow, wide, rtol=1e-12))
    return _for_margin(_scaled(n, error, needed), smallest_margin)


def _check(alpha: float, power: float, name: str, value: float) -> None:
    if not 0 < alpha < power < 1:
        raise UserError(f"alpha {alpha:g}, power {power:g}: 0 < alpha < power < 1 must hold; 0.05 and 0.8 are usual")
    if not value > 0:
        raise UserError(f"{name}: {value:g} is not above 0; give the smallest difference that matters, such as 0.01")


def _spread_reason(what: str, spread: float | None) -> str | None:
    if spread is None or not math.isfinite(spread):
        return f"no {what}"
    return None if spread > 0 else f"the {what} is 0"


def _too_many(what: str) -> str:
    return f"more than {MOST:.0e} {what}"


def _needed(
    observed: float | None, smallest: float, detectable: float, count: Callable[[float], int | None], what: str
) -> Needed:
    undefined = {}
    for_observed = None
    if observed is None or not math.isfinite(observed):
        undefined["observed"] = "no observed difference"
    elif observed == 0:
        undefined["observed"] = "the observed difference is 0"
    else:
        for_observed = count(abs(observed))
    for_smallest = count(smallest)
    for name, needed in (("observed", for_observed), ("smallest", for_smallest)):
        if needed is None:
            undefined.setdefault(name, _too_many(what))
    return Needed(for_observed, for_smallest, detectable, undefined)


def _t_power(effect: float, pairs: int, alpha: float) -> float:
    """Power of the two-sided t test for a mean of `effect` standard deviations, by the noncentral F of t^2."""
    critical, shift = float(stats.t.isf(alpha / 2, pairs - 1)), effect * math.sqrt(pairs)
    if shift**2 == 0:
        return alpha
    # The spread is never 12 times the true one, and the series of a large noncentrality would not converge.
    if shift > 12 * (critical + 1):
        return 1.0
    return float(stats.ncf.sf(critical**2, 1, pairs - 1, shift**2))


def _pairs(effect: float, alpha: float, power: float) -> int | None:
    """The fewest pairs that have the power, by doubling and halving."""
    too_few, enough = 1, 2
    while _t_power(effect, enough, alpha) < power:
        if enough > MOST:
            return None
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _t_power(effect, middle, alpha) < power:
            too_few = middle
        else:
            enough = middle
    return enough if enough <= MOST else None


def _scaled(n: int, error: float, needed: float) -> int | None:
    """Patients with whom an error of `error` with `n` patients has shrunk to `needed`."""
    if needed <= 0 or n * (error / needed) ** 2 > MOST:
        return None
    # Not one patient more for the last digit of a whole number.
    return math.ceil(n * (error / needed) ** 2 * (1 - 1e-12))


def _for_margin(count: int | None, margin: float) -> NeededForMargin:
    return NeededForMargin(count, margin, {} if count is not None else {"patients": _too_many("patients")})
