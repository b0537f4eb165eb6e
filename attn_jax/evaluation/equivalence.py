"""Whether a difference is small enough not to matter: equivalence, non-inferiority, and a verdict in one word."""

from typing import NamedTuple

from scipy import stats

from attn_jax.evaluation.intervals import LEVEL

MARGIN = 0.02


class Equivalence(NamedTuple):
    """p of two one-sided tests within the margin, p of non-inferiority, and the verdict."""

    margin: float
    equivalence_p: float
    noninferiority_p: float
    verdict: str


def judge(difference: float, error: float, margin: float = MARGIN, level: float = LEVEL) -> Equivalence:
    """Judges a difference (positive: better) against `margin`, both in units of the metric.

    Two one-sided z tests (Schuirmann 1987, doi 10.1007/BF01068419), each at half of 1 - `level` as regulators ask:
    equivalent when the interval of `level` lies within the margin, non-inferior when it lies above minus the margin.

    The verdict is the first that holds: `"equivalent"` (also a difference that is real but too small to matter),
    `"better"` or `"worse"` (the interval leaves out 0), `"non-inferior"`, `"inconclusive"`.
    """
    alpha = (1 - level) / 2
    if error <= 0:
        above, below = float(difference <= -margin), float(difference >= margin)
        differs = difference != 0
    else:
        above = float(stats.norm.sf((difference + margin) / error))
        below = float(stats.norm.cdf((difference - margin) / error))
        differs = stats.norm.sf(abs(difference) / error) < alpha
    both = max(above, below)
    if both < alpha:
        verdict = "equivalent"
    elif differs:
        verdict = "better" if difference > 0 else "worse"
    else:
        verdict = "non-inferior" if above < alpha else "inconclusive"
    return Equivalence(margin, both, above, verdict)
