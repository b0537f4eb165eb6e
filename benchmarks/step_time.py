"""Images a second of our ResNets and timm's, with and without a mechanism, on the same cores in one run.

    python benchmarks/step_time.py --models resnet18 resnet50 --attention none se eca cbam gc coordinate

All networks of a model take turns, ours and timm's in turn, so that whatever else the machine does meets all; medians
over the rounds. The first step of a turn, which pays for memory that another network left, does not count; of training
the next one does, of inference the mean of the next four. timm runs in an environment of its own (`--timm`, made there
with pip if it is missing), with as many threads, in the faster of its memory formats, and for inference with its batch
normalisation folded where that is faster; variants within a tenth of the fastest take part in the rounds.

A step is forward, backward and an SGD update in float32, or a forward pass in evaluation. The cost of a mechanism is
what its step takes beyond that of the same side's `none`, with a 95 % bootstrap interval over the rounds.
"""

import argparse
import itertools
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
from other_side import Ask, answering

Step = Callable[[], object]
PACKAGES = ("torch==2.14.1", "torchvision==0.29.1", "timm==1.0.31")
COUNT = {"train": 1, "infer": 4}
"""Steps that are timed together."""


def measure(ask: Ask, name: str, arms: list[str], size: int, batch: int, rounds: int) -> dict[str, np.ndarray]:
    """Seconds [rounds, ours and timm's] of each arm's steps, by `"kind arm"`; prints timm's chosen variants."""

    from network_step import compiled, seconds

    def ask_seconds(kind: str, arm: str, variant: str) -> float:
        return float(ask(kind, name, arm, variant, COUNT[kind]))

    mine, theirs = {}, {}
    for arm in arms:
        mine[arm], _ = compiled(name, arm, batch=batch, size=size)
        variants = [key.split("\t") for key in ask("make", name, arm, size, batch).split(";")]
        for kind, step in mine[arm].items():
            step()
            tried = {v: min(ask_seconds(kind, arm, v) for _ in range(2)) for k, v in variants if k == kind}
            theirs[kind, arm] = [v for v in tried if tried[v] <= 1.1 * min(tried.values())]
    times: dict[tuple[str, str], list[list[float]]] = {key: [] for key in theirs}
    for _ in range(rounds):
        for kind, arm in itertools.product(COUNT, arms):
            turns = [seconds(mine[arm][kind], COUNT[kind]), *(ask_seconds(kind, arm, v) for v in theirs[kind, arm])]
            times[kind, arm].append(turns)
    ask("forget", "", "")
    chosen = {}
    for (kind, arm), turns in times.items():
        medians = np.median(turns, axis=0)
        best = int(medians[1:].argmin()) + 1
        print(f"# {name} {arm}: timm's fastest to {kind} is {theirs[kind, arm][best - 1]}", flush=True)
        chosen[f"{kind} {arm}"] = np.array(turns)[:, [0, best]]
    return chosen


def cost(arm: np.ndarray, none: np.ndarray) -> tuple[float, float, float]:
    """Median cost of an arm over none, in per cent, with its 95 % bootstrap interval over the rounds."""
    rows = np.random.default_rng(0).integers(0, len(arm), (2000, len(arm)))
    drawn = np.median(arm[rows], 1) / np.median(none[rows], 1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return tuple(100 * (float(value) - 1) for value in (np.median(arm) / np.median(none), low, high))


def table(name: str, arms: list[str], times: dict[str, np.ndarray], batch: int) -> None:
    """Prints a line for each arm of training and of inference."""
    for kind in ("train", "infer"):
        for arm in arms:
            mine, theirs = times[f"{kind} {arm}"].T
            speeds = [batch / np.median(side) for side in (mine, theirs)]
            ratios = theirs / mine
            spread = f"{np.median(ratios):6.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
            none = times[f"{kind} none"].T
            costs = [cost(side, base) for side, base in zip((mine, theirs), none, strict=True)]
            shown = "" if arm == "none" else "".join(f"{m:7.1f} ({lo:.1f} to {hi:.1f})" for m, lo, hi in costs)
            print(f"{name:<10}{arm:<12}{kind:<7}{speeds[0]:>8.1f}{speeds[1]:>8.1f}{spread:>24}{shown}", flush=True)


def main() -> None:
    from attn_jax.command_line import tune_cpu

    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--attention", nargs="+", default=["none", "se", "eca", "cbam", "gc", "coordinate"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--timm", type=Path, default=Path.home() / ".cache" / "attn_jax" / "timm")
    options = parser.parse_args()
    arms = list(dict.fromkeys(["none", *options.attention]))

    import jax

    cores = len(os.sched_getaffinity(0))
    with answering(options.timm, PACKAGES, "timm_side.py", cores) as ask:
        load = os.getloadavg()[0]
        print(f"{platform.processor() or platform.machine()}, {cores} cores, load {load:.1f} before the start")
        print(f"jax {jax.__version__} against {ask()}; {options.size} px, batch {options.batch}, {options.pairs} pairs")
        print("huge pages and kept memory for both, our convolutions left to Eigen")
        print("images/s are medians, ratios medians with their range, costs with 95 % intervals")
        for name in options.models:
            times = measure(ask, name, arms, options.size, options.batch, options.pairs)
            print(f"{'model':<10}{'attention':<12}{'':<7}{'ours':>8}{'timm':>8}{'ratio':>24}  cost in %: ours, timm")
            table(name, arms, times, options.batch)


if __name__ == "__main__":
    main()
