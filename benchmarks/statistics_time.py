"""Bootstrap of the AUC: ours beside a loop over scikit-learn's function, on one core, in turn.

    python benchmarks/statistics_time.py

Prints the seconds of 1,000 replicates over images (medians of the pairs) and how many times as fast ours is. The loop
is timed on 100 replicates, ten times which stand in the table.
"""

import argparse
import datetime
import os
import statistics
import time

import numpy as np
import sklearn
from sklearn.metrics import roc_auc_score

from attn_jax.evaluation import replicates
from attn_jax.evaluation.weighted import Ranking

REPLICATES, LOOPED = 1000, 100


def ours(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The AUC in each replicate, average precision beside it."""
    drawn = replicates.draws(np.random.default_rng(0), np.arange(len(truth)), REPLICATES)
    return replicates.judge(Ranking(truth, score), drawn, REPLICATES)["auc"]


def loop(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The same for a tenth of the replicates."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, len(truth), len(truth)) for _ in range(LOOPED)]
    return np.array([roc_auc_score(truth[at], score[at]) for at in rows])


def seconds(job, *arguments: np.ndarray) -> float:
    """How long it takes."""
    start = time.perf_counter()
    job(*arguments)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"NumPy {np.__version__}, scikit-learn {sklearn.__version__}, one core, {datetime.date.today()}\n")
    print("| images | ours, s | scikit-learn in a loop, s | times as fast |\n| ---: | ---: | ---: | ---: |")
    for count in (200, 1000, 10_000):
        rng = np.random.default_rng(count)
        truth = rng.uniform(size=count) < 0.3
        score = rng.normal(truth, 1)
        pairs = [(seconds(ours, truth, score), seconds(loop, truth, score)) for _ in range(options.pairs)]
        mine = statistics.median(first for first, _ in pairs)
        theirs = statistics.median(second for _, second in pairs) * REPLICATES / LOOPED
        print(f"| {count:,} | {mine:.3f} | {theirs:.2f} | {theirs / mine:.0f} |", flush=True)


if __name__ == "__main__":
    main()
