"""Milliseconds an image of our class activation maps and pytorch-grad-cam's, on the same cores in one run.

    python benchmarks/saliency_time.py --torch ~/.cache/attn_jax/gradcam

A ResNet-18 with random weights is explained at its last layer: Grad-CAM of a batch of 8, Score-CAM and Ablation-CAM of
one image. Of the layer's 512 channels those two weigh the first 64 on both sides, since all of them take the other side
most of a minute an image; both have 32 masked or ablated images in a pass. The maps are stretched to [0, 1] and resized
to the image on both sides.

The sides take turns, so that whatever else the machine does meets both; medians over the rounds. pytorch-grad-cam runs
in an environment of its own (`--torch`, made there with pip if it is missing), with as many threads, in the faster of
its memory formats. The first call of each, which compiles ours, does not count.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from other_side import Ask, answering

LAYER = "stage4_block2"
PACKAGES = ("torch==2.14.1", "torchvision==0.29.1", "grad-cam==1.5.7")


def ours(size: int, batch: int, channels: int, at_once: int) -> dict[str, Callable[[], object]]:
    """Calls that explain a batch by Grad-CAM, or one image by the others, and wait for the pictures."""
    import jax
    import jax.numpy as jnp

    from attn_jax import models
    from attn_jax.explain.ablation_cam import ablated_scores
    from attn_jax.explain.cam import weighted
    from attn_jax.explain.grad_cam import grad_cam, to_image
    from attn_jax.explain.layers import run
    from attn_jax.explain.score_cam import masked_scores
    from attn_jax.explain.scores import class_score

    model = models.create("resnet18", num_classes=1000)
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    targets = jnp.arange(batch)
    variables = jax.jit(lambda key: model.init(key, images[:1], train=False))(jax.random.key(1))

    def by_score(variables, image, target):
        first = run(model, variables, image, LAYER)[1][..., :channels]
        scores = masked_scores(model, variables, image, target, first, at_once=at_once)
        return weighted(first, jax.nn.softmax(scores, axis=-1))

    def by_ablation(variables, image, target):
        logits, whole = run(model, variables, image, LAYER)
        score = class_score(logits, target)[:, None]
        without = ablated_scores(model, variables, image, target, LAYER, whole, channels, at_once=at_once)
        return weighted(whole[..., :channels], (score - without) / score)

    score, ablation = jax.jit(by_score), jax.jit(by_ablation)
    maps = {
        "grad_cam": lambda: grad_cam(model, variables, images, targets, LAYER),
        "score_cam": lambda: score(variables, images[:1], targets[:1]),
        "ablation_cam": lambda: ablation(variables, images[:1], targets[:1]),
    }
    return {name: lambda draw=draw: to_image(draw(), (size, size)).block_until_ready() for name, draw in maps.items()}


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(ask: Ask, size: int, batch: int, channels: int, at_once: int, rounds: int) -> dict[str, np.ndarray]:
    """Seconds [rounds, ours and theirs] of each method; prints their faster memory format."""
    mine = ours(size, batch, channels, at_once)
    formats = ask("make", size, batch, channels, at_once).split()
    for name, call in mine.items():
        call()
        for variant in formats:
            ask(name, variant)
    times: dict[str, list[list[float]]] = {name: [] for name in mine}
    for _ in range(rounds):
        for name, call in mine.items():
            times[name].append([seconds(call), *(float(ask(name, variant)) for variant in formats)])
    chosen = {}
    for name, turns in times.items():
        best = int(np.median(turns, axis=0)[1:].argmin()) + 1
        print(f"# {name}: pytorch-grad-cam is faster with channels {formats[best - 1]}", flush=True)
        chosen[name] = np.array(turns)[:, [0, best]]
    return chosen


def main() -> None:
    from attn_jax.command_line import tune_cpu

    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8, help="of Grad-CAM")
    parser.add_argument("--channels", type=int, default=64, help="that Score-CAM and Ablation-CAM weigh")
    parser.add_argument("--at-once", type=int, default=32, help="masked or ablated images in a pass")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", type=Path, default=Path.home() / ".cache" / "attn_jax" / "gradcam")
    options = parser.parse_args()

    import jax

    cores = len(os.sched_getaffinity(0))
    with answering(options.torch, PACKAGES, "gradcam_side.py", cores) as ask:
        load = os.getloadavg()[0]
        print(f"{platform.processor() or platform.machine()}, {cores} cores, load {load:.1f} before the start")
        print(f"jax {jax.__version__} against {ask()}; ResNet-18, {options.size} px, {options.rounds} rounds")
        print(f"Score-CAM and Ablation-CAM weigh the first {options.channels} of the last layer's 512 channels")
        times = measure(ask, options.size, options.batch, options.channels, options.at_once, options.rounds)
    print(f"{'ms an image':<14}{'batch':>6}{'ours':>10}{'theirs':>10}{'times as fast':>26}")
    for name, turns in times.items():
        batch = options.batch if name == "grad_cam" else 1
        mine, theirs = 1000 * np.median(turns, axis=0) / batch
        ratios = turns[:, 1] / turns[:, 0]
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"{name:<14}{batch:>6}{mine:>10.1f}{theirs:>10.1f}{spread:>26}")


if __name__ == "__main__":
    main()
