"""Selective prediction: how wrong a model is on the images it is surest of, when the others go to a person.

Geifman et al. 2019, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, arXiv 1805.08206. Differs from the
paper: images of equal confidence are kept together; where a coverage cuts through them, their loss counts at its mean,
the expected value over their random orders. Losses are 0 and 1 (an error), or anything whose mean is of interest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real
from scipy.special import digamma

from attn_jax.errors import UserError

COVERAGES = (0.5, 0.8, 0.9, 0.95)
# Replicates are worked on so many numbers at a time, to bound the memory.
_BLOCK = 2_000_000


class RiskCoverage(NamedTuple):
    """For each distinct confidence, from high to low: the share of images with at least that, and their mean loss."""

    confidence: Float[np.ndarray, "points"]
    coverage: Float[np.ndarray, "points"]
    risk: Float[np.ndarray, "points"]


def top_probability(score: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n"]:
    """Confidence of a decision for the class with the highest probability: that probability."""
    return score.max(axis=1)


def distance_to_threshold(score: Float[np.ndarray, "n"], threshold: float) -> Float[np.ndarray, "n"]:
    """Confidence of a decision by `score >= threshold`: how far off the score is."""
    return np.abs(score - threshold)


def risk_coverage(error: Real[np.ndarray, "n"], confidence: Float[np.ndarray, "n"]) -> RiskCoverage | None:
    """The risk-coverage curve; None without images."""
    if not len(error):
        return None
    order, first = _groups(confidence)
    kept = np.append(first[1:], len(order))
    lost = np.cumsum(np.add.reduceat(error[order].astype(np.float64), first))
    return RiskCoverage(confidence[order][first], kept / len(order), lost / kept)


def risk_at_coverage(curve: RiskCoverage, coverages: Sequence[float] = COVERAGES) -> Float[np.ndarray, "coverages"]:
    """Mean loss of the surest share of images; an image or tie that the coverage cuts counts in part.

    Raises:
        UserError: a coverage that is not in (0, 1].
    """
    wanted = np.asarray(coverages, dtype=np.float64)
    bad = wanted[~((wanted > 0) & (wanted <= 1))]
    if len(bad):
        raise UserError(f"coverage {bad[0]:g} is not in (0, 1]")
    lost = np.interp(wanted, np.append(0, curve.coverage), np.append(0, curve.coverage * curve.risk))
    return lost / wanted


def accuracy_at_coverage(curve: RiskCoverage, coverages: Sequence[float] = COVERAGES) -> Float[np.ndarray, "coverages"]:
    """Accuracy on the surest share of images, of a curve made from errors (0 or 1); see `risk_at_coverage`."""
    return 1 - risk_at_coverage(curve, coverages)


def aurc(error: Real[np.ndarray, "n"], confidence: Float[np.ndarray, "n"]) -> float | None:
    """Area under the risk-coverage curve: the mean over k = 1 .. n of the expected risk of the k surest images.

    None without images.
    """
    return float(replicate_aurc(error, confidence, np.ones((1, len(error))))[0]) if len(error) else None


def best_aurc(error: Real[np.ndarray, "n"]) -> float | None:
    """The AURC of the best possible ordering, images of small loss first; None without images."""
    return float(np.mean(np.cumsum(np.sort(error)) / np.arange(1, len(error) + 1))) if len(error) else None


def excess_aurc(error: Real[np.ndarray, "n"], confidence: Float[np.ndarray, "n"]) -> float | None:
    """AURC above that of the best possible ordering (E-AURC): 0 when every error is less sure than anything right."""
    found, best = aurc(error, confidence), best_aurc(error)
    return None if found is None or best is None else found - best


def replicate_aurc(
    error: Real[np.ndarray, "n"], confidence: Float[np.ndarray, "n"], weights: Real[np.ndarray, "R n"]
) -> Float[np.ndarray, "R"]:
    """AURC under each row of `weights`: how often each image counts (a bootstrap's); NaN where no image does.

    Rows are scaled to sum to n, so their unit does not matter. Whole weights with that sum give exactly the AURC of
    images so often repeated; others its continuation, with harmonic numbers of fractions.
    """
    if not len(error):
        return np.full(len(weights), np.nan)
    order, first = _groups(confidence)
    blocks = np.array_split(weights, max(1, -(-weights.size // _BLOCK)))
    return np.concatenate([_weighted(error[order], block[:, order], first) for block in blocks])


def _groups(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of falling confidence, and where in it each distinct confidence begins."""
    order = np.argsort(-confidence, kind="stable")
    fallen = np.diff(confidence[order]) != 0
    return order, np.flatnonzero(np.append(True, fallen))


def _weighted(error: np.ndarray, weights: np.ndarray, first: np.ndarray) -> np.ndarray:
    """AURC of images in order of falling confidence.

    With W images of loss E kept before a tie of w images of mean loss m, the risk after k of them is
    (E + k m) / (W + k) = m + (E - W m) / (W + k); its sum over k = 1 .. w is w m + (E - W m) (H(W + w) - H(W)).
    """
    total = weights.sum(axis=1, keepdims=True)
    scaled = weights * (weights.shape[1] / np.where(total > 0, total, np.nan))
    images, loss = scaled, scaled * error
    if len(first) < len(error):
        images, loss = (np.add.reduceat(of, first, axis=1) for of in (images, loss))
    kept = np.cumsum(images, axis=1)
    mean = loss / np.where(images > 0, images, 1)
    before = np.cumsum(loss, axis=1) - loss - (kept - images) * mean
    harmonic = np.diff(digamma(kept + 1), axis=1, prepend=digamma(1))
    return (loss + before * harmonic).sum(axis=1) / weights.shape[1]
