"""Planted lesions: irregular blobs whose exact masks are known."""

import dataclasses

import numpy as np

from attn_jax.data.phantom.canvas import Canvas, smooth


@dataclasses.dataclass(frozen=True)
class Lesions:
    """What is planted in one image.

    Attributes:
        size: diameter as a fraction of the image side.
        contrast: how far the middle goes from the tissue around (0) to the modality's densest plausible lesion (1).
        count: how many.
        rng: their own stream, so that planting them changes nothing else in the image.
    """

    size: float
    contrast: float
    count: int
    rng: np.random.Generator


def blob(canvas: Canvas, lesions: Lesions, x: float, y: float, roughness: float = 0.3) -> np.ndarray:
    """A field that is 1 in the middle of an irregular blob around (x, y), 0 on its border and negative outside."""
    rng = lesions.rng
    radius = max(lesions.size, 3 / canvas.size)
    stretch = rng.uniform(1.0, 1.25)
    ragged = canvas.noise(rng, int(np.clip(round(2.2 / lesions.size), 3, 40)))
    round_ = canvas.ellipse(x, y, radius * stretch, radius / stretch, rng.uniform(0, 180))
    return 1 - round_ + roughness * np.clip(ragged, -2, 2)


def opacity(field: np.ndarray, softness: float) -> np.ndarray:
    """The blob's opacity in [0, 1]: one half on its border, 0 where the field is below `-softness`."""
    return smooth(0.5 + field / (2 * softness))


def union(fields: list[np.ndarray]) -> np.ndarray:
    """One field for several blobs."""
    return fields[0] if len(fields) == 1 else np.stack(fields).max(axis=0)
