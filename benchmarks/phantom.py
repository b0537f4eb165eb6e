"""How many simulated images a second one core draws: `python benchmarks/phantom.py [--size=128] [--images=200]`."""

import argparse
import os
import platform
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from attn_jax.data import phantom  # noqa: E402


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Prints one line a modality: the median and the best rate over batches of ten images, in processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, OpenCV {cv2.__version__}"
    print(f"{processor()}, 1 of {os.cpu_count()} cores; {versions}")
    for modality in phantom.MODALITIES:
        settings = phantom.Settings(modality=modality, size=arguments.size)
        phantom.simulate(settings, phantom.case(settings, 0))
        rates = []
        for first in range(0, arguments.images, 10):
            start = time.process_time()
            for index in range(first, first + 10):
                phantom.simulate(settings, phantom.case(settings, index))
            rates.append(10 / (time.process_time() - start))
        print(f"{modality:12} {arguments.size} px: {np.median(rates):6.0f} images/s (best {max(rates):.0f})")


if __name__ == "__main__":
    main()
