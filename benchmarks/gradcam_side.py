"""pytorch-grad-cam's side of saliency_time.py: answers a line of standard input with a line of output.

Runs in an environment with PyTorch, torchvision and grad-cam. `make SIZE BATCH CHANNELS AT_ONCE` builds a ResNet-18 and
its methods in either memory format; `METHOD FORMAT` explains a batch and answers the seconds it took.
"""

import os
import sys
import time
from collections.abc import Callable

os.environ["TQDM_DISABLE"] = "1"

import importlib.metadata  # noqa: E402

import torch  # noqa: E402
import torchvision  # noqa: E402
from pytorch_grad_cam import AblationCAM, GradCAM, ScoreCAM  # noqa: E402
from pytorch_grad_cam.base_cam import BaseCAM  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402

FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
METHODS: dict[str, Callable[..., BaseCAM]] = {"grad_cam": GradCAM, "score_cam": ScoreCAM, "ablation_cam": AblationCAM}


def of_first(cam: BaseCAM, channels: int) -> None:
    """Has a method weigh the first `channels` of its layer alone."""
    draw = cam.get_cam_image
    cam.get_cam_image = lambda images, layer, targets, activations, *rest: draw(
        images, layer, targets, activations[:, :channels], *rest
    )


def make(size: int, batch: int, channels: int, at_once: int) -> dict[tuple[str, str], Callable[[], object]]:
    """Each method at the last layer in each memory format: Grad-CAM of a batch, the others of one image."""
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for variant, layout in FORMATS.items():
        for name, method in METHODS.items():
            model = torchvision.models.resnet18(weights=None).eval().to(memory_format=layout)
            cam = method(model=model, target_layers=[model.layer4[-1]])
            count = batch if name == "grad_cam" else 1
            if name != "grad_cam":
                cam.batch_size = at_once
                of_first(cam, channels)
            images = torch.randn(count, 3, size, size).to(memory_format=layout)
            targets = [ClassifierOutputTarget(index) for index in range(count)]
            calls[name, variant] = lambda cam=cam, images=images, targets=targets: cam(images, targets)
    return calls


def serve() -> None:
    """Reads commands until standard input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    print(f"grad-cam {importlib.metadata.version('grad-cam')} on torch {torch.__version__}", flush=True)
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for line in sys.stdin:
        command, *rest = line.rstrip("\n").split("\t")
        if command == "make":
            calls = make(*map(int, rest))
            print(" ".join(FORMATS), flush=True)
        else:
            start = time.perf_counter()
            calls[command, rest[0]]()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    serve()
