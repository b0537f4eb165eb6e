"""Intervals of shares of images, which have one in closed form: accuracy, sensitivity, specificity."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri, stdtrit

from attn_jax.evaluation.intervals import LEVEL, Interval
from attn_jax.evaluation.panel import Panel, Run


def of_run(panel: Panel, run: Run, metric: str, level: float = LEVEL) -> dict[str, Interval | None]:
    """`"wilson"` where the metric is a share of one run's decisions: of two classes, and accuracy of more."""
    if panel.first.kind != "single":
        return {}
    truth = panel.label == panel.first.positive
    rows = {"accuracy": np.ones(len(panel.label), bool)}
    rows |= {"sensitivity": truth, "specificity": ~truth} if panel.first.binary else {}
    if metric not in rows:
        return {}
    return {"wilson": clustered(run.right[rows[metric]], panel.cluster[rows[metric]], level)}


def clustered(
    hit: Bool[np.ndarray, "images"], cluster: Int[np.ndarray, "images"], level: float = LEVEL
) -> Interval | None:
    """Wilson's interval for images of which some show the same patient: their number is divided by the design effect.

    That is the variance of the share over patients (its linearisation) over that of independent images, 1 at least
    (Franco et al. 2019, doi 10.1093/jssam/smy019). As few patients tell it roughly, the normal quantile becomes that of
    t with one degree of freedom fewer than patients (Korn and Graubard 1998, Survey Methodology 24:193-201). Where all
    images have the same outcome it is unknown, and patients count instead of images. None without an image, and for
    several images of one patient.
    """
    if not len(hit):
        return None
    patient = np.unique(cluster, return_inverse=True)[1]
    count, patients, share = len(hit), int(patient.max()) + 1, float(hit.mean())
    if patients == 1 < count:
        return None
    effective, reach = float(patients), float(ndtri((1 + level) / 2))
    if patients < count and 0 < share < 1:
        reach = float(stdtrit(patients - 1, (1 + level) / 2))
        rest = np.bincount(patient, weights=hit - share)
        variance = patients / (patients - 1) * (rest**2).sum() / count**2
        effective = count / max(1.0, variance * count / (share * (1 - share)))
    low, high = _wilson(np.array(share), np.array(effective), reach)
    return Interval(float(low), float(high))


def wilson(
    share: Float[np.ndarray, "*shape"], count: Float[np.ndarray, "*shape"] | Int[np.ndarray, "*shape"], level: float
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """The ends of Wilson's score interval (1927, doi 10.1080/01621459.1927.10502953) for counts that need not be whole;
    NaN for a count of 0."""
    return _wilson(share, count, float(ndtri((1 + level) / 2)))


def _wilson(share: np.ndarray, count: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    number = np.where(count > 0, count, np.nan)
    middle = share + z**2 / (2 * number)
    half = z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    scale = 1 + z**2 / number
    # Without rounding an end at 0 or 1 is exactly that.
    low = np.where(share == 0, 0.0 * number, (middle - half) / scale)
    return low, np.where(share == 1, 1 + 0.0 * number, (middle + half) / scale)
