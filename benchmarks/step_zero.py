"""What inserting a mechanism does to a pretrained network before any training: `python benchmarks/step_zero.py`.

EfficientNet-Lite0 with ImageNet weights (`--weights`, `ATTN_JAX_WEIGHTS` or ../shared/weights) on three photographs
of scikit-image: the probability of the class that the plain network finds, with a mechanism in every block of the last
three stages, as it is initialised and with `identity_start`. Prints Markdown.
"""

import argparse
import os
import pathlib

import jax
import numpy as np
from PIL import Image
from skimage import data

from attn_jax import models
from attn_jax.models import weights

FILE = "efficientnet_lite0_imagenet.safetensors"
FOLDER = pathlib.Path(
    os.environ.get("ATTN_JAX_WEIGHTS", pathlib.Path(__file__).resolve().parents[2] / "shared/weights")
)
PHOTOGRAPHS = {"coffee": 967, "chelsea": 285, "rocket": 657}
MECHANISMS = ("se", "eca", "cbam", "gc", "coordinate")


def photograph(name: str) -> np.ndarray:
    """The central square at 224 pixels, in about [-1, 1]."""
    whole = getattr(data, name)()
    side = min(whole.shape[:2])
    top, left = ((size - side) // 2 for size in whole.shape[:2])
    square = Image.fromarray(whole[top : top + side, left : left + side])
    return (np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), np.float32) - 127) / 128


def probabilities(file: pathlib.Path, images: np.ndarray, **mechanism: object) -> np.ndarray:
    """[images, classes]."""
    model = models.create("efficientnet_lite0", num_classes=1000, placement="block", stages=(5, 6, 7), **mechanism)
    variables = jax.jit(lambda key: model.init(key, images[:1], train=False))(jax.random.key(0))
    variables = weights.load(file, variables, rename=model.torch_name)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    return np.asarray(jax.nn.softmax(logits))


def main() -> None:
    """Prints one row a mechanism."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=pathlib.Path, default=FOLDER / FILE)
    file = parser.parse_args().weights
    images = np.stack([photograph(name) for name in PHOTOGRAPHS])
    right = list(PHOTOGRAPHS.values())
    plain = probabilities(file, images)

    def row(name: str, found: np.ndarray) -> str:
        cells = [f"{found[k, label]:.3f}" for k, label in enumerate(right)]
        return f"| {name} | {' | '.join(cells)} | {np.abs(found - plain).max():.2g} |"

    print(f"jax {jax.__version__}, {jax.devices()[0].platform}; {file.name}, 224 px")
    print(f"\n| mechanism | {' | '.join(PHOTOGRAPHS)} | largest change |\n| --- |{' ---: |' * (len(right) + 1)}")
    print(row("none", plain))
    for name in MECHANISMS:
        print(row(name, probabilities(file, images, attention=name)), flush=True)
        found = probabilities(file, images, attention=name, identity_start=True)
        print(row(f"{name}, identity_start", found), flush=True)


if __name__ == "__main__":
    main()
