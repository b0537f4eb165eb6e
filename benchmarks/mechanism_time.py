"""What a mechanism costs ResNet-18 at 224 pixels beyond the network without: time and memory.

    python benchmarks/mechanism_time.py se cbam

Forward passes in evaluation and training steps of 16 images in float32, in turn with the same of `none`, so that
whatever else the machine does meets both; medians over the pairs. Prints a line of JSON for each mechanism.

Every turn is two steps, of which the second counts: a network's first step after another's pays, with huge pages, a
tenth more for new memory, and where two of the same alternate it is always the same one that pays.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attn_jax.command_line import use_huge_pages

NETWORK, BATCH = "resnet18", 16
Step = Callable[[], object]


def build(attention: str) -> tuple[dict[str, Step], int]:
    """The compiled steps, and the bytes that the training step holds at its peak, arguments included."""
    import jax
    import jax.numpy as jnp
    import network_step

    steps = network_step.make(NETWORK, attention, batch=BATCH)
    params, batch_stats, _, images, labels = steps.shapes
    train = jax.jit(steps.train, donate_argnums=(0, 1, 2)).lower(*steps.shapes).compile()
    infer = jax.jit(steps.infer).lower(params, batch_stats, images).compile()
    batch = jax.random.normal(jax.random.key(1), images.shape), jnp.arange(BATCH, dtype=labels.dtype)
    kept = jax.jit(steps.init)(jax.random.key(0))
    trained = [jax.tree.map(jnp.copy, kept)]

    def train_once() -> None:
        trained[:] = [jax.block_until_ready(train(*trained[0], *batch))]

    memory = train.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    return {"forward": lambda: jax.block_until_ready(infer(*kept[:2], batch[0])), "train": train_once}, held


def milliseconds(step: Step) -> float:
    """How long a step takes after another of its kind."""
    step()
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def compare(own: dict[str, Step], none: dict[str, Step], pairs: int) -> dict[str, float]:
    """Medians of each kind of step, in milliseconds, and of its ratio to `none`'s."""
    found: dict[str, float] = {}
    for kind, step in own.items():
        times = [(milliseconds(none[kind]), milliseconds(step)) for _ in range(pairs + 1)][1:]
        found[kind] = statistics.median(mine for _, mine in times)
        found[f"{kind} ratio"] = statistics.median(mine / base for base, mine in times)
    return found


def processor() -> str:
    """Its name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    use_huge_pages()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="mechanisms, or none")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()

    import jax

    cores = len(os.sched_getaffinity(0))
    shared = f"{cores} core{'s' if cores > 1 else ''}"
    ran = f"{processor()}, {shared}, jax {jax.__version__}, {datetime.date.today()}"
    none, none_held = build("none")
    for name in options.names:
        own, held = (none, none_held) if name == "none" else build(name)
        measured: dict[str, Any] = {
            **compare(own, none, options.pairs),
            "memory": held,
            "memory ratio": held / none_held,
        }
        print(json.dumps({"name": name, "measured": measured, "ran": ran}), flush=True)


if __name__ == "__main__":
    main()
