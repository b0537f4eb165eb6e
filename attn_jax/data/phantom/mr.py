"""An axial FLAIR-like slice of the head: scalp, skull, folded cortex and ventricles.

The lesion is a bright irregular blob with oedema.
"""

import math

import numpy as np

from attn_jax.data.phantom.canvas import Canvas, blend, grain, ovals, ramp, rounded, smooth
from attn_jax.data.phantom.lesions import Lesions, blob, opacity, union
from attn_jax.data.phantom.scene import Scene

_WHITE, _GREY, _FLUID = 0.4, 0.56, 0.13
_VENTRICLE = rounded(
    [
        (0.03, -0.3),
        (0.1, -0.36),
        (0.13, -0.3),
        (0.07, -0.14),
        (0.06, 0.02),
        (0.1, 0.16),
        (0.2, 0.32),
        (0.17, 0.38),
        (0.08, 0.24),
        (0.02, 0.06),
        (0.015, -0.12),
    ]
)

_DEEP_GREY = np.concatenate(
    [
        ovals(
            (side * 0.13, 0.08, 0.085, 0.12, side * 25),
            (side * 0.25, -0.06, 0.065, 0.17, side * -14),
            (side * 0.15, -0.22, 0.05, 0.08, 0),
        )
        for side in (-1, 1)
    ]
)


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the slice in about [0, 1] and the mask of its lesions (their cores, without the oedema), if any."""
    canvas, rng, shot = scene.canvas, scene.anatomy, scene.acquisition
    a, b = rng.uniform(0.64, 0.7), rng.uniform(0.8, 0.86)
    wobble = 0.03 * canvas.noise(rng, 3)
    from_centre = np.sqrt(canvas.ellipse(0, 0, a, b)) + wobble
    brain = ramp((1.0 - from_centre) / 0.03)

    image = _head(from_centre)
    tissue = _cortex(canvas, rng, from_centre, a)
    tissue += 0.07 * _deep_grey(canvas, rng)
    tissue += 0.018 * canvas.noise(rng, 10)
    wide = rng.uniform(0.85, 1.35)
    shape = _VENTRICLE * [wide, rng.uniform(0.95, 1.12)]
    ventricles = canvas.fill([shape, shape * [-1, 1]], blur=0.015)
    tissue += 0.1 * canvas.fill([shape, shape * [-1, 1]], blur=0.07)
    blend(tissue, _FLUID, ventricles)
    blend(image, tissue, brain)

    mask = None
    if scene.lesions is not None:
        bright, mask = _tumour(canvas, scene.lesions, a, b, from_centre < 0.97)
        blend(image, 0.98, bright * brain * (1 - 0.6 * ventricles))

    bias = 1 + 0.07 * canvas.noise(shot, 2) + shot.uniform(-0.12, 0.12) * canvas.y + shot.uniform(-0.1, 0.1) * canvas.x
    bias *= shot.uniform(0.92, 1.1)
    image *= bias
    noise = 0.034 if scene.site == "B" else 0.022
    image += noise * grain(shot, canvas.size)
    imaginary = noise * grain(shot, canvas.size)
    return np.sqrt(image * image + imaginary * imaginary), mask


def _head(from_centre: np.ndarray) -> np.ndarray:
    """Air, scalp, skull and the fluid under it, from the outside in."""
    image = 0.62 * ramp((1.175 - from_centre) / 0.02)
    blend(image, 0.07, ramp((1.115 - from_centre) / 0.02))
    image += 0.09 * ramp((1.09 - from_centre) / 0.015) * ramp((from_centre - 1.065) / 0.015)
    blend(image, _FLUID, ramp((1.03 - from_centre) / 0.02))
    return image


def _cortex(canvas: Canvas, rng: np.random.Generator, from_centre: np.ndarray, a: float) -> np.ndarray:
    """White matter, the grey ribbon that follows its folds, and the dark sulci and fissure between them."""
    folds = np.minimum(np.abs(canvas.noise(rng, 15, 13)), np.abs(canvas.noise(rng, 12, 14)) + 0.08)
    fissure = np.abs(canvas.x + 0.012 * canvas.noise(rng, 6)) / np.float32(a)
    insula = np.sqrt(canvas.ellipse(0, 0.02, a, 0.3))
    depth = np.minimum(1 - from_centre, fissure * 1.3 + 0.25 * ramp(1.15 - np.abs(canvas.y) * 2.2))
    depth = np.minimum(depth, np.abs(insula - 0.78) * 0.4 + 0.1)
    reach = smooth((0.42 - depth) / 0.3)
    ribbon = np.maximum(smooth((0.95 - folds) / 0.35) * reach, ramp((0.085 - depth) / 0.05))
    sulci = np.maximum(smooth((0.3 - folds) / 0.25) * ramp((0.3 - depth) / 0.22), ramp((0.03 - depth) / 0.03) * 0.8)
    tissue = _WHITE + (_GREY - _WHITE) * ribbon
    blend(tissue, _FLUID, 0.85 * sulci)
    return tissue


def _deep_grey(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    size = [rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)]
    return canvas.fill(_DEEP_GREY * size + [0, rng.uniform(-0.02, 0.02)], blur=0.04)


def _tumour(canvas: Canvas, lesions: Lesions, a: float, b: float, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fields, rng = [], lesions.rng
    for _ in range(lesions.count):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.38, 0.66)
        fields.append(blob(canvas, lesions, a * far * math.cos(angle), b * far * math.sin(angle)))
    field = union(fields)
    core, oedema = opacity(field, 0.3), opacity(field + 1.1, 0.9)
    return lesions.contrast * (0.75 * core + 0.35 * oedema) * 1.1, (field > 0) & brain
