"""Decoding 512-px JPEGs to 128 px on one core: Pillow's draft mode, which attn_jax uses, against OpenCV.

    python benchmarks/decode.py

Prints what it ran on and a Markdown table of images per second of processor time, and what each says of half a file.
OpenCV comes out 10 to 20 % ahead and says nothing. The bar is 300 images/s/core.
"""

import io
import os
import platform
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import PIL
from PIL import Image, features

from attn_jax.data import decode

SIDE, TARGET, IMAGES, ROUNDS = 512, 128, 64, 3


def pictures(channels: int, rng: np.random.Generator) -> list[bytes]:
    """JPEGs of quality 90 with coarse structure and film grain, about 80 KB each."""
    made = []
    for _ in range(IMAGES):
        coarse = rng.uniform(0, 255, (32, 32, channels)).astype(np.float32)
        image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).reshape(SIDE, SIDE, channels)
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(image[..., 0] if channels == 1 else image).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


def resized(image: np.ndarray) -> np.ndarray:
    """What a reader without reduced decoding does next: the mean over areas."""
    return cv2.resize(image, (TARGET, TARGET), interpolation=cv2.INTER_AREA)


def opencv(content: bytes, flag: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


READERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "attn_jax: decode_image, size_hint=128": lambda content: decode.decode_image(content, TARGET),
    "OpenCV: IMREAD_REDUCED_COLOR_4": lambda content: opencv(content, cv2.IMREAD_REDUCED_COLOR_4),
    "attn_jax: decode_image, whole, resized": lambda content: resized(decode.decode_image(content)),
    "OpenCV: IMREAD_COLOR, resized": lambda content: resized(opencv(content, cv2.IMREAD_COLOR)),
}


def speed(reader: Callable[[bytes], np.ndarray], contents: Sequence[bytes]) -> float:
    """Images per second of processor time, the best of `ROUNDS`."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for content in contents:
            assert reader(content).shape[:2] == (TARGET, TARGET)
        best = min(best, time.process_time() - start)
    return len(contents) / best


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def truncated(reader: Callable[[bytes], np.ndarray], content: bytes) -> str:
    """What a reader makes of half a file."""
    try:
        return "read as if whole" if reader(content[: len(content) // 2]) is not None else "None"
    except Exception as error:
        return " ".join(str(error).split())[:66]


def main() -> None:
    """Measures every reader on grey and colour pictures and prints the table."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    sets = {"grey": pictures(1, rng), "colour": pictures(3, rng)}
    turbo = features.version("libjpeg_turbo")
    print(f"{processor()}, {os.cpu_count()} cores, one used; Python {platform.python_version()}, ", end="")
    print(f"Pillow {PIL.__version__} (libjpeg-turbo {turbo}), OpenCV {cv2.__version__}; {SIDE} px to {TARGET} px\n")
    print("| reader | grey, images/s | colour, images/s | half a file |\n|---|---|---|---|")
    for name, reader in READERS.items():
        grey, color = (speed(reader, contents) for contents in sets.values())
        print(f"| {name} | {grey:.0f} | {color:.0f} | {truncated(reader, sets['grey'][0])} |")


if __name__ == "__main__":
    main()
