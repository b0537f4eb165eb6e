"""Images per second from the cache to batches, at 128 px: the bar is 5,000.

    python benchmarks/pipeline.py [--size=128] [--images=3000] [--batch=128] [--seconds=3]

Prints what it ran on and a Markdown table: every way of drawing, from memory and from a mapped file, with and without
the thread that reads ahead and puts the batch on the device; images per second of wall time and, in brackets, of
processor time, the steadier of the two on a busy machine. With pairs, an image and its partner count as one.
"""

import argparse
import collections
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np

from attn_jax.data.pipeline import TrainingBatches, evaluation_batches, prefetch

IN_FLIGHT = 4
WAYS: dict[str, dict[str, Any]] = {
    "natural": {},
    "balanced": {"sampling": "balanced"},
    "pairs": {"pairs": True},
}


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rate(batches: Iterator[Any], images: int, seconds: float) -> str:
    """Images per second of wall time and of processor time: medians of five rounds, after a first batch.

    The last batches are kept, as steps in flight keep them: a loop that drops each at once writes to memory that is
    still in the processor's cache, and measures a fifth too much.
    """
    held: collections.deque[Any] = collections.deque([next(batches)], maxlen=IN_FLIGHT)
    wall, processor_time = [], []
    for _ in range(5):
        start, worked, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds / 5:
            held.append(next(batches))
            count += images
        wall.append(count / (time.perf_counter() - start))
        processor_time.append(count / (time.process_time() - worked))
    return f"{statistics.median(wall):,.0f} ({statistics.median(processor_time):,.0f})"


def put(batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """The batch on the device, once it has arrived."""
    return jax.block_until_ready(jax.device_put(batch))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    labels = random.choice(3, asked.images, p=[0.6, 0.3, 0.1]).astype(np.int32)
    rows = np.arange(asked.images)
    versions = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, grain {grain.__version__}, JAX {jax.__version__}"
    )
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {versions}; {jax.devices()[0]}")
    print(f"{asked.images} images of {asked.size} x {asked.size} x 3, batches of {asked.batch}\n")
    print("| drawn | cache | alone, images/s | prefetched to the device, images/s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, random.integers(0, 256, (asked.images, asked.size, asked.size, 3), dtype=np.uint8))
        for cache, images in (("memory", np.load(file)), ("mapped", np.load(file, mmap_mode="r"))):
            for name, options in WAYS.items():
                settings = {"batch_size": asked.batch, "seed": 0, **options}
                alone = rate(TrainingBatches(images, labels, rows, **settings), asked.batch, asked.seconds)
                with prefetch(TrainingBatches(images, labels, rows, **settings), put) as ahead:
                    ready = rate(ahead, asked.batch, asked.seconds)
                print(f"| {name} | {cache} | {alone} | {ready} |")
            whole = rows[: len(rows) // asked.batch * asked.batch]
            passes = (evaluation_batches(images, labels, whole, batch_size=asked.batch) for _ in itertools.repeat(None))
            again = rate(itertools.chain.from_iterable(passes), asked.batch, asked.seconds)
            print(f"| evaluation | {cache} | {again} | |")


if __name__ == "__main__":
    main()
