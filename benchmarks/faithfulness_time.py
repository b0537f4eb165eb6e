"""Milliseconds an image of our deletion curve and Quantus' pixel flipping, on the same cores in one run.

    python benchmarks/faithfulness_time.py --torch ~/.cache/attn_jax/quantus

Both ask the same ResNet-18 with random weights about the same 8 images with the same random maps, whose pixels become
0 in 28 steps; how far the two curves lie apart is printed. Ours also asks about the untouched image, and gives the
network `steps + 1` images at a time; Quantus gives it the whole batch, once a step. Images have one channel, since
Quantus takes every channel of a pixel for a feature of its own and its steps, which must divide the pixels, would cut
colours apart.

The sides take turns, so that whatever else the machine does meets both; medians over the rounds. Quantus runs in an
environment of its own (`--torch`, made there with pip if it is missing), with as many threads. The first call of each,
which compiles ours, does not count.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from other_side import Ask, answering

PACKAGES = ("torch==2.14.1", "torchvision==0.29.1", "quantus==0.6.0", "safetensors==0.8.0")


def ours(folder: Path, size: int, batch: int, steps: int) -> Callable[[], np.ndarray]:
    """A call that gives the scores after each step; leaves in `folder` what the other side needs for the same."""
    import jax

    from attn_jax import models
    from attn_jax.explain.faithfulness import deletion
    from attn_jax.models import weights

    model = models.create("resnet18", num_classes=1000)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, size, size, 1)).astype(np.float32)
    maps = rng.normal(size=(batch, size, size)).astype(np.float32)
    variables = jax.jit(lambda key: model.init(key, images[:1], train=False))(jax.random.key(1))
    weights.export(variables, folder / "weights.safetensors")
    np.savez(folder / "batch.npz", images=np.moveaxis(images, -1, 1), maps=maps[:, None])
    predict = jax.jit(lambda given: jax.nn.softmax(model.apply(variables, given, train=False))[:, 0])
    shares = np.linspace(0, 1, steps + 1)
    return lambda: deletion(predict, images, maps, shares=shares, batch=steps + 1).scores[:, 1:]


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(ask: Ask, size: int, batch: int, steps: int, rounds: int) -> np.ndarray:
    """Seconds [rounds, ours and theirs] of a batch; prints how far the curves lie apart."""
    with tempfile.TemporaryDirectory() as folder:
        call = ours(Path(folder), size, batch, steps)
        mine = call()
        ask("make", folder, size * size // steps)
        theirs = np.load(Path(folder, "scores.npy"))
    apart = np.abs(mine - theirs).max() / np.ptp(theirs)
    print(f"# the curves lie {apart:.1e} of their range apart", flush=True)
    return np.array([[seconds(call), float(ask("flip"))] for _ in range(rounds)])


def main() -> None:
    from attn_jax.command_line import tune_cpu

    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=28, help="a divisor of the number of pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", type=Path, default=Path.home() / ".cache" / "attn_jax" / "quantus")
    options = parser.parse_args()
    if options.size**2 % options.steps:
        parser.error(f"--steps {options.steps} does not divide the {options.size**2} pixels")

    import jax

    cores = len(os.sched_getaffinity(0))
    with answering(options.torch, PACKAGES, "quantus_side.py", cores) as ask:
        load = os.getloadavg()[0]
        print(f"{platform.processor() or platform.machine()}, {cores} cores, load {load:.1f} before the start")
        print(f"jax {jax.__version__} against {ask()}; ResNet-18, {options.size} px, {options.rounds} rounds")
        times = measure(ask, options.size, options.batch, options.steps, options.rounds)
    print(f"{'ms an image':<14}{'batch':>6}{'steps':>6}{'ours':>10}{'theirs':>10}{'times as fast':>26}")
    mine, theirs = 1000 * np.median(times, axis=0) / options.batch
    ratios = times[:, 1] / times[:, 0]
    spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    print(f"{'deletion':<14}{options.batch:>6}{options.steps:>6}{mine:>10.1f}{theirs:>10.1f}{spread:>26}")


if __name__ == "__main__":
    main()
