"""Quantus' side of faithfulness_time.py: answers a line of standard input with a line of output.

Runs in an environment with PyTorch, torchvision, safetensors and quantus. `make FOLDER FEATURES` builds the ResNet-18
of the folder's weights, flips FEATURES pixels a step of its images and leaves the scores there; `flip` does it again
and answers the seconds it took.
"""

import importlib.metadata
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import quantus
import safetensors.torch
import torch
import torchvision


def make(folder: Path, features: int) -> Callable[[], list[list[float]]]:
    """A call that gives the probability of class 0 after each step, for each image."""
    model = torchvision.models.resnet18(weights=None)
    model.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    stored = safetensors.torch.load_file(folder / "weights.safetensors")
    missing, unexpected = model.load_state_dict(stored, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    model.eval()
    batch = np.load(folder / "batch.npz")
    images, maps = batch["images"], batch["maps"]
    targets = np.zeros(len(images), dtype=int)
    metric = quantus.PixelFlipping(features_in_step=features, perturb_baseline=0.0, disable_warnings=True)
    return lambda: metric(model, images, targets, maps, channel_first=True, softmax=True)


def serve() -> None:
    """Reads commands until standard input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    print(f"quantus {importlib.metadata.version('quantus')} on torch {torch.__version__}", flush=True)
    call: Callable[[], list[list[float]]] = list
    for line in sys.stdin:
        command, *rest = line.rstrip("\n").split("\t")
        if command == "make":
            folder = Path(rest[0])
            call = make(folder, int(rest[1]))
            np.save(folder / "scores.npy", call())
            print("ready", flush=True)
        else:
            start = time.perf_counter()
            call()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    serve()
