"""Tests of two models on the same images: permutation, McNemar with patients, and Wilcoxon over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.sign_flips import sign_flip_p, signed_rank_p
from attn_jax.evaluation.weighted import RANKING, Question, Ranking

FEWEST_SEEDS = 6
"""Six pairs are the fewest for which the smallest two-sided p of Wilcoxon's test, 2 / 2**6, is below 0.05."""


OF_THESE_NETWORKS = ("DeLong", "permutation", "McNemar")
OVER_SEEDS = "Wilcoxon over seeds"


class Test(NamedTuple):
    """The two-sided p (None: not computed), its name in words, and why it is missing."""

    name: str
    p: float | None
    reason: str = ""

    @property
    def about(self) -> str:
        """What the test asks about: whether the same would come of other patients, of training again, or of both."""
        if self.name in OF_THESE_NETWORKS:
            return "these networks, other patients"
        return "trained again, these patients" if self.name == OVER_SEEDS else "trained again, other patients"


def permutation(panel: Panel, first: str, second: str, metric: str, *, count: int = 1000, seed: int = 0) -> Test:
    """Swaps the two models' outputs patient by patient; p counts the swaps with at least the observed difference.

    A patient's images change sides together, in all shared seeds alike; (1 + hits) / (1 + count) (Phipson and Smyth
    2010, arXiv 1603.05766). For AUC and average precision the models swap ranks, which their scores, on scales of their
    own, share (Bandos et al. 2005, doi 10.1002/sim.2149). Of more than two classes or findings only AUC has one.
    """
    shared = panel.shared(first, second)
    name = "permutation"
    if not panel.first.binary and metric != "auc":
        return Test(name, None, "for two classes, of more for AUC only")
    if not shared:
        return Test(name, None, "no seed in common")
    patients = int(panel.cluster.max()) + 1
    sides = np.random.default_rng(seed).integers(0, 2, size=(count, patients)).astype(np.float64)
    sides = np.concatenate([np.ones((1, patients)), sides])
    difference = np.zeros(len(sides))
    for run in shared:
        runs = (panel.runs[first][run], panel.runs[second][run])
        difference += (_areas if metric == "auc" else _others)(panel, runs, sides, metric) / len(shared)
    observed = difference[0]
    if np.isnan(observed):
        return Test(name, None, "the metric is undefined")
    hits = int((np.abs(difference[1:]) >= abs(observed) - 1e-12).sum())
    return Test(name, (1 + hits) / (1 + count))


def _areas(panel: Panel, runs: tuple[Run, Run], sides: np.ndarray, metric: str) -> Float[np.ndarray, "swaps"]:
    """The difference of AUC on each of the sides, at once.

    An AUC is a mean over pairs of a positive and a negative image of what either's side makes of it. In the difference
    of both models what both images make together cancels, so that it is a sum over images, each with its side's sign.
    Of several classes or findings it is the mean over these.
    """
    test, cluster = runs[0].test, runs[0].seen(panel.cluster)
    one, other = (run.test.outcomes() for run in runs)
    shares = []
    for name, (truth, score) in one.items():
        if test.kind == "multilabel" and (truth.all() or not truth.any()):
            continue
        known = ~np.isnan(test.label[:, test.classes.index(name)]) if test.kind == "multilabel" else slice(None)
        share = _share_of_area(truth, np.stack([stats.rankdata(of) for of in (score, other[name][1])]))
        shares.append(np.bincount(cluster[known], weights=share, minlength=sides.shape[1]))
    return (2 * sides - 1) @ np.mean(shares, axis=0) if shares else np.full(len(sides), np.nan)


def _share_of_area(
    truth: Bool[np.ndarray, "images"], ranks: Float[np.ndarray, "models images"]
) -> Float[np.ndarray, "images"]:
    """What each image adds to the first model's AUC less the second's; NaN of images of one kind."""
    share = np.zeros(len(truth))
    with np.errstate(invalid="ignore", divide="ignore"):
        for rows, sign in ((truth, 1), (~truth, -1)):
            others = np.sort(ranks[:, ~rows].ravel())
            below, upto = (np.searchsorted(others, ranks[:, rows], side) for side in ("left", "right"))
            one, other = below + upto
            share[rows] = sign * (one - other) / (4 * np.float64(truth.sum()) * (~truth).sum())
    return share


def _others(panel: Panel, runs: tuple[Run, Run], sides: np.ndarray, metric: str) -> Float[np.ndarray, "swaps"]:
    """The difference of any metric, side by side."""
    question = _together([of.test for of in runs], [of.test.decisions(of.thresholds) for of in runs], metric)
    step = max(1, (1 << 18) // len(panel.cluster))
    difference = np.zeros(len(sides))
    for start in range(0, len(sides), step):
        own = runs[0].seen(sides[start : start + step, panel.cluster])
        ways = [question(np.concatenate(pair, axis=1))[metric] for pair in ((own, 1 - own), (1 - own, own))]
        difference[start : start + step] = ways[0] - ways[1]
    return difference


def _together(tests: Sequence[Predictions], decided: Sequence[np.ndarray], metric: str) -> Ranking | Question:
    """The images of both models in one row, of which weights choose."""
    positive = tests[0].positive
    assert positive is not None
    truth = np.concatenate([test.label == positive for test in tests])
    scores = [test.score[:, positive] for test in tests]
    if metric in RANKING:
        return Ranking(truth, np.concatenate([stats.rankdata(score) for score in scores]))
    return Question(truth, np.concatenate(scores), np.concatenate(decided) == positive)


def mcnemar(
    first: Bool[np.ndarray, "decisions"], second: Bool[np.ndarray, "decisions"], cluster: Int[np.ndarray, "decisions"]
) -> Test:
    """Whether two models are right equally often: `first` and `second` tell where they are, in decisions on the same
    images by runs with the same seeds; `cluster` tells which patient's image each was about.

    Patients are what is independent: the signs of each one's wins less losses, over images and seeds, are flipped in
    all ways. With one decision a patient it is McNemar's exact test (1947).
    """
    gain = first.astype(np.int64) - second.astype(np.int64)
    per_patient = np.rint(np.bincount(cluster, weights=gain)).astype(np.int64)
    return Test("McNemar", sign_flip_p(per_patient))


def wilcoxon(differences: Float[np.ndarray, "seeds"]) -> Test:
    """Wilcoxon's signed-rank test of paired differences over seeds, exact, from six seeds on.

    It takes the test images as they are: on other patients even equal models may differ in all seeds alike.
    """
    name = OVER_SEEDS
    if np.isnan(differences).any():
        return Test(name, None, "the metric is undefined for a seed")
    if len(differences) < FEWEST_SEEDS:
        return Test(name, None, f"{len(differences)} of the {FEWEST_SEEDS} seeds that the test needs")
    return Test(name, signed_rank_p(differences))
