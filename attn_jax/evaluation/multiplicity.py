"""Several tests at once: Holm's adjustment over a family (Holm 1979, Scandinavian Journal of Statistics 6:65-70)."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values; tests that were not computed (None) are no members of the family.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below an earlier one, none exceeds 1.
    """
    known = [k for k, value in enumerate(p) if value is not None]
    order = sorted(known, key=lambda k: p[k])  # type: ignore[arg-type, return-value]
    scaled = [float(p[k]) * (len(order) - step) for step, k in enumerate(order)]  # type: ignore[arg-type]
    adjusted: list[float | None] = [None] * len(p)
    for k, value in zip(order, np.minimum(np.maximum.accumulate(scaled), 1) if scaled else [], strict=True):
        adjusted[k] = float(value)
    return adjusted
