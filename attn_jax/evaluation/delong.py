"""AUC's variance without resampling, for one model and for several on the same images, also when patients have many.

DeLong, DeLong and Clarke-Pearson 1988 (doi 10.2307/2531595), by midranks as Sun and Xu 2014 (doi
10.1109/LSP.2014.2337313); with patients Obuchowski 1997 (doi 10.2307/2533958), which is DeLong's for one image each.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from attn_jax.evaluation.intervals import LEVEL, Interval


class Areas(NamedTuple):
    """AUC of each model and the covariance of these; NaN where a class has fewer than two images (or patients)."""

    auc: Float[np.ndarray, "models"]
    covariance: Float[np.ndarray, "models models"]


class Difference(NamedTuple):
    """Its value, its standard error, the Wald interval, and the two-sided p of a z test (None: undefined)."""

    value: float
    error: float
    interval: Interval
    p: float | None


def areas(
    truth: Bool[np.ndarray, "images"],
    scores: Float[np.ndarray, "models images"],
    cluster: Int[np.ndarray, "images"] | None = None,
) -> Areas:
    """AUC and its covariance over models that judged the same images; with `cluster`, images of one patient may agree.

    Args:
        truth: which images are positive.
        scores: of each model, higher for positives.
        cluster: each image's patient, from 0.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    count = len(scores)
    if not positives or not negatives:
        return Areas(np.full(count, np.nan), np.full((count, count), np.nan))
    both = stats.rankdata(scores, axis=1)
    of_positives = (both[:, truth] - stats.rankdata(scores[:, truth], axis=1)) / negatives
    of_negatives = 1 - (both[:, ~truth] - stats.rankdata(scores[:, ~truth], axis=1)) / positives
    auc = of_positives.mean(axis=1)
    if cluster is None:
        covariance = _covariance(of_positives) / positives + _covariance(of_negatives) / negatives
        return Areas(auc, covariance)
    return Areas(auc, _clustered(of_positives, of_negatives, truth, cluster, auc))


def interval(auc: float, variance: float, level: float = LEVEL) -> Interval | None:
    """Wald interval on the logit scale, which stays within (0, 1) (Pepe 2003, section 5.2).

    None at an AUC of 0 or 1, where the variance is 0.
    """
    if not 0 < auc < 1 or not np.isfinite(variance):
        return None
    center, error = np.log(auc / (1 - auc)), np.sqrt(variance) / (auc * (1 - auc))
    low, high = 1 / (1 + np.exp(-(center + error * stats.norm.ppf([(1 - level) / 2, (1 + level) / 2]))))
    return Interval(float(low), float(high))


def difference(found: Areas, contrast: Float[np.ndarray, "models"], level: float = LEVEL) -> Difference | None:
    """Compares models on the same images: the sum of their AUCs times `contrast`, such as 1 and -1, or for the means
    over three runs each 1/3 and -1/3. None where a variance is undefined.

    Models that order all images alike have no variance: their difference is 0 and the p is 1.
    """
    variance = float(contrast @ found.covariance @ contrast)
    if not np.isfinite(variance):
        return None
    value, error = float(contrast @ found.auc), float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:
        return Difference(value, 0.0, Interval(value, value), 1.0 if abs(value) < 1e-12 else None)
    reach = stats.norm.ppf((1 + level) / 2) * error
    p = float(2 * stats.norm.sf(abs(value) / error))
    return Difference(value, error, Interval(value - reach, value + reach), p)


def _covariance(parts: np.ndarray) -> np.ndarray:
    models, count = parts.shape
    return np.full((models, models), np.nan) if count < 2 else np.atleast_2d(np.cov(parts))


def _clustered(
    of_positives: np.ndarray, of_negatives: np.ndarray, truth: np.ndarray, cluster: np.ndarray, auc: np.ndarray
) -> np.ndarray:
    total = int(cluster.max()) + 1
    sums, counts = [], []
    for parts, which in ((of_positives, truth), (of_negatives, ~truth)):
        of = np.zeros((len(auc), total))
        np.add.at(of.T, cluster[which], parts.T)
        number = np.bincount(cluster[which], minlength=total)
        sums.append(of - number * auc[:, None])
        counts.append(number)
    patients = [int((number > 0).sum()) for number in counts]
    if min(patients) < 2 or total < 2:
        return np.full((len(auc), len(auc)), np.nan)
    images = [int(number.sum()) for number in counts]
    own = sum((of @ of.T) * who / ((who - 1) * many**2) for of, who, many in zip(sums, patients, images, strict=True))
    cross = (sums[0] @ sums[1].T) * total / ((total - 1) * images[0] * images[1])
    return own + cross + cross.T
