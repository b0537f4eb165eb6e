"""Whether differences are small enough not to matter: equivalence, non-inferiority, and a verdict in one word."""

from collections.abc import Sequence
from typing import NamedTuple

from attn_jax.evaluation.intervals import LEVEL
from attn_jax.evaluation.multiplicity import holm
from attn_jax.evaluation.standard_error import StandardError

MARGIN = 0.02


class Compared(NamedTuple):
    """A difference (positive: better), its standard error, and Holm's p of no difference."""

    difference: float
    error: StandardError
    adjusted_p: float | None


class Equivalence(NamedTuple):
    """p of two one-sided tests within the margin and of non-inferiority, as they are and adjusted by Holm over the
    family, and the verdict."""

    margin: float
    equivalence_p: float
    noninferiority_p: float
    equivalence_adjusted: float
    noninferiority_adjusted: float
    verdict: str


def judge(
    family: Sequence[Compared | None], margin: float = MARGIN, level: float = LEVEL
) -> tuple[Equivalence | None, ...]:
    """Judges each difference of a family against `margin`, in units of the metric; None: not known, and no member.

    Two one-sided tests (Schuirmann 1987, doi 10.1007/BF01068419) with the statistic of the interval and of p, each at
    half of 1 - `level` as regulators ask. Of a single difference they say equivalent exactly when its interval of
    `level` lies within the margin, and non-inferior when it lies above minus the margin; of several, adjusted by Holm,
    they ask for more.

    The verdict is the first that holds: `"equivalent"` (also a difference that is real but too small to matter),
    `"better"` or `"worse"` (Holm's p of no difference below 1 - `level`), `"non-inferior"`, `"inconclusive"`.

    Returns:
        None also of a difference without any spread, which tells nothing of how sure it is.
    """
    known = [of if of is not None and of.error.total > 1e-12 else None for of in family]
    above = [None if of is None else of.error.tail((of.difference + margin) / of.error.total) for of in known]
    below = [None if of is None else of.error.tail((margin - of.difference) / of.error.total) for of in known]
    both = [None if one is None or two is None else max(one, two) for one, two in zip(above, below, strict=True)]
    found: list[Equivalence | None] = []
    for of, *p in zip(known, both, above, holm(both), holm(above), strict=True):
        equivalent, noninferior, equivalent_adjusted, noninferior_adjusted = p
        if of is None or equivalent is None or noninferior is None:
            found.append(None)
            continue
        assert equivalent_adjusted is not None and noninferior_adjusted is not None
        alpha = 1 - level
        if equivalent_adjusted < alpha / 2:
            verdict = "equivalent"
        elif of.adjusted_p is not None and of.adjusted_p < alpha:
            verdict = "better" if of.difference > 0 else "worse"
        else:
            verdict = "non-inferior" if noninferior_adjusted < alpha / 2 else "inconclusive"
        adjusted = (equivalent_adjusted, noninferior_adjusted)
        found.append(Equivalence(margin, equivalent, noninferior, *adjusted, verdict))
    return tuple(found)
