"""Tests of two models on the same images: permutation, McNemar with patients, and Wilcoxon over seeds."""

from collections.abc import Callable, Sequence
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


PERMUTATION = "permutation"
OF_THESE_NETWORKS = ("DeLong", PERMUTATION, "McNemar")
OVER_SEEDS = "Wilcoxon over seeds"
LEAST_SWAPS = 1000
MOST_PERMUTED = 10
"""Pairs up to which each is permuted in metrics other than AUC, which take seconds a pair."""


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


def permutation(panel: Panel, first: str, second: str, metric: str, *, count: int = LEAST_SWAPS, seed: int = 0) -> Test:
    """Swaps the two models' outputs patient by patient; p counts the swaps with at least the observed difference.

    A patient's images change sides together, in all shared seeds alike; (1 + hits) / (1 + count) (Phipson and Smyth
    2010, arXiv 1603.05766). For AUC and average precision the models swap ranks, which their scores, on scales of their
    own, share (Bandos et al. 2005, doi 10.1002/sim.2149). Of more than two classes or findings only AUC has one.
    """
    return permutations(panel, [(first, second)], metric, count=count, seed=seed)[0]


def permutations(
    panel: Panel, pairs: Sequence[tuple[str, str]], metric: str, *, count: int | None = None, seed: int = 0
) -> list[Test]:
    """`permutation` of each pair of a family that Holm's adjustment is over; without `count` with as many swaps as
    leave its smallest adjusted p below 0.01."""
    if metric != "auc" and len(pairs) > MOST_PERMUTED:
        return [Test(PERMUTATION, None, f"for {MOST_PERMUTED} pairs at most")] * len(pairs)
    count = count or max(LEAST_SWAPS, 100 * len(pairs))
    reasons = [_unpermuted(panel, *pair, metric) for pair in pairs]
    asked = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
    if not asked:
        return [Test(PERMUTATION, None, reason) for reason in reasons]
    patients = int(panel.cluster.max()) + 1
    changed = _areas(panel, asked, patients) if metric == "auc" else _others(panel, asked, metric)
    observed = changed(np.ones((1, patients)))[0]
    rng = np.random.default_rng(seed)
    hits = np.zeros(len(asked), dtype=np.int64)
    # So many at a time as a processor's caches hold.
    step = max(1, (1 << 20) // max(patients, len(asked)))
    for start in range(0, count, step):
        sides = rng.integers(0, 2, size=(min(step, count - start), patients)).astype(np.float64)
        hits += (np.abs(changed(sides)) >= np.abs(observed) - 1e-12).sum(axis=0)
    p = iter([None if np.isnan(o) else (1 + int(h)) / (1 + count) for o, h in zip(observed, hits, strict=True)])
    return [
        Test(PERMUTATION, None, reason)
        if reason
        else Test(PERMUTATION, of := next(p), "" if of else "the metric is undefined")
        for reason in reasons
    ]


def _unpermuted(panel: Panel, first: str, second: str, metric: str) -> str:
    """Why two models have no permutation test; empty where they have."""
    if not panel.first.binary and metric != "auc":
        return "for two classes, of more for AUC only"
    return "" if panel.shared(first, second) else "no seeds to pair"


Changed = Callable[[Float[np.ndarray, "swaps patients"]], Float[np.ndarray, "swaps pairs"]]
"""The differences of pairs, where a patient's side is 1 for the models as they are and 0 for swapped ones."""


def _areas(panel: Panel, pairs: Sequence[tuple[str, str]], patients: int) -> Changed:
    """The differences of AUC.

    An AUC is a mean over pairs of a positive and a negative image of what either's side makes of it. In the difference
    of both models what both images make together cancels, so that it is a sum over images, each with its side's sign.
    Of several classes or findings it is the mean over these, and so it is of the seeds.
    """
    shares = np.zeros((patients, len(pairs)))
    for column, (first, second) in enumerate(pairs):
        of_runs = [
            _shares(panel, panel.runs[first][run], panel.runs[second][run]) for run in panel.shared(first, second)
        ]
        shares[:, column] = np.mean(of_runs, axis=0)
    return lambda sides: (2 * sides - 1) @ shares


def _shares(panel: Panel, first: Run, second: Run) -> Float[np.ndarray, "patients"]:
    """What each patient adds to the first run's AUC less the second's; NaN where that is undefined."""
    test, cluster, patients = first.test, first.seen(panel.cluster), int(panel.cluster.max()) + 1
    one, other = (run.test.outcomes() for run in (first, second))
    shares = []
    for name, (truth, score) in one.items():
        if test.kind == "multilabel" and (truth.all() or not truth.any()):
            continue
        known = ~np.isnan(test.label[:, test.classes.index(name)]) if test.kind == "multilabel" else slice(None)
        share = _share_of_area(truth, np.stack([stats.rankdata(of) for of in (score, other[name][1])]))
        shares.append(np.bincount(cluster[known], weights=share, minlength=patients))
    return np.mean(shares, axis=0) if shares else np.full(patients, np.nan)


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


def _others(panel: Panel, pairs: Sequence[tuple[str, str]], metric: str) -> Changed:
    """The differences of any metric, side by side."""

    def changed(sides: np.ndarray) -> np.ndarray:
        return np.stack([_differences(panel, *pair, sides, metric) for pair in pairs], axis=1)

    return changed


def _differences(panel: Panel, first: str, second: str, sides: np.ndarray, metric: str) -> Float[np.ndarray, "swaps"]:
    """The mean over shared seeds of the first model's metric less the second's."""
    difference = np.zeros(len(sides))
    shared = panel.shared(first, second)
    step = max(1, (1 << 18) // len(panel.cluster))
    for seed in shared:
        runs = (panel.runs[first][seed], panel.runs[second][seed])
        question = _together([of.test for of in runs], [of.test.decisions(of.thresholds) for of in runs], metric)
        for start in range(0, len(sides), step):
            own = runs[0].seen(sides[start : start + step, panel.cluster])
            ways = [question(np.concatenate(pair, axis=1))[metric] for pair in ((own, 1 - own), (1 - own, own))]
            difference[start : start + step] += (ways[0] - ways[1]) / len(shared)
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
