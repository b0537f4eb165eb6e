"""Whether a map is higher on the disease than elsewhere, whatever its threshold."""

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from attn_jax.explain.arrays import finite, rows


def average_precision(
    maps: Real[np.ndarray, "B *space"], masks: Shaped[np.ndarray, "B *space"]
) -> Float[np.ndarray, "B"]:
    """Area under each map's precision-recall curve over pixels (AUPRC of Arun et al. 2021, arXiv 2008.02766).

    The step-wise sum, as scikit-learn's `average_precision_score`: pixels of equal value are found together. A map that
    knows nothing, a constant one too, scores the mask's share of the image. NaN for an empty mask or a map that is not
    finite.

    Raises:
        ValueError: maps and masks differ in shape.
    """
    flat, inside = rows(maps, masks)
    return np.array([_average_precision(*three) for three in zip(flat, inside, finite(flat), strict=True)])


def _average_precision(values: Float[np.ndarray, "P"], inside: Bool[np.ndarray, "P"], known: bool) -> float:
    if not inside.any() or not known:
        return np.nan
    order, first = _ties(-values)
    hits = np.add.reduceat(inside[order].astype(np.int64), first)
    taken = np.append(first[1:], len(order))
    return float((hits * hits.cumsum() / taken).sum() / hits.sum())


def _ties(values: Float[np.ndarray, "P"]) -> tuple[Int[np.ndarray, "P"], Int[np.ndarray, "groups"]]:
    """The pixels from low to high, and where each group of equal ones begins."""
    order = values.argsort()
    ordered = values[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
