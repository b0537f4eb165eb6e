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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attn_jax.command_line import tune_cpu

NETWORK, BATCH = "resnet18", 16
Step = Callable[[], object]


def compare(own: dict[str, Step], none: dict[str, Step], pairs: int) -> dict[str, float]:
    """Medians of each kind of step, in milliseconds, and of its ratio to `none`'s."""
    from network_step import seconds

    found: dict[str, float] = {}
    for name, kind in (("forward", "infer"), ("train", "train")):
        times = [(seconds(none[kind]), seconds(own[kind])) for _ in range(pairs + 1)][1:]
        found[name] = 1e3 * statistics.median(mine for _, mine in times)
        found[f"{name} ratio"] = statistics.median(mine / base for base, mine in times)
    return found


def processor() -> str:
    """Its name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="mechanisms, or none")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()

    import jax
    from network_step import compiled

    cores = len(os.sched_getaffinity(0))
    shared = f"{cores} core{'s' if cores > 1 else ''}"
    ran = f"{processor()}, {shared}, jax {jax.__version__}, {datetime.date.today()}"
    none, none_held = compiled(NETWORK, "none", batch=BATCH)
    for name in options.names:
        own, held = (none, none_held) if name == "none" else compiled(NETWORK, name, batch=BATCH)
        measured: dict[str, Any] = {
            **compare(own, none, options.pairs),
            "memory": held,
            "memory ratio": held / none_held,
        }
        print(json.dumps({"name": name, "measured": measured, "ran": ran}), flush=True)


if __name__ == "__main__":
    main()
