"""A dermoscopic image: skin, hairs, vignette and a mole.

The lesion is a dark, blue-grey, irregular region planted at the mole.
"""

import numpy as np

from attn_jax.data.phantom.canvas import Canvas, blend, grain, smooth
from attn_jax.data.phantom.lesions import Lesions, blob, opacity, union
from attn_jax.data.phantom.scene import Scene


def _colour(*channels: float) -> np.ndarray:
    """[3, 1, 1]: images are drawn channels first, which is three times as fast."""
    return np.array(channels, np.float32)[:, None, None]


_FAIR, _TAN = _colour(0.93, 0.74, 0.66), _colour(0.72, 0.5, 0.39)
_BROWN, _DARK_BROWN = _colour(0.58, 0.36, 0.24), _colour(0.26, 0.15, 0.11)
_BLUE_BLACK, _HAIR = _colour(0.13, 0.15, 0.24), _colour(0.17, 0.11, 0.08)
_BLUSH, _WARM = _colour(0.2, -1.0, -0.7), _colour(1, 0, -1)
_ALONG = np.linspace(0, 1, 10)


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the image [size, size, 3] in about [0, 1] and the mask of what is planted, if anything."""
    canvas, rng, shot = scene.canvas, scene.anatomy, scene.acquisition
    tone = rng.random()
    skin = _FAIR + tone * (_TAN - _FAIR)
    image = _skin(canvas, rng, skin)
    where = rng.uniform(-0.12, 0.12, 2)
    radius = rng.uniform(0.34, 0.52)
    mole, pigment = _mole(canvas, rng, where, radius)
    brown = _BROWN + rng.uniform(-0.05, 0.05) + 0.35 * (skin - _FAIR)
    depth = rng.uniform(0.3, 0.95)
    blend(image, brown + depth * pigment * (_DARK_BROWN - brown), 0.88 * mole)

    mask = None
    if scene.lesions is not None:
        veil, mask = _veil(canvas, scene.lesions, where, radius)
        blend(image, _BLUE_BLACK, veil)

    hairs = _hairs(canvas, shot)
    if hairs is not None:
        blend(image, _HAIR, 0.75 * hairs)
    centre = canvas.ellipse(shot.uniform(-0.05, 0.05), shot.uniform(-0.05, 0.05), 1, 1)
    light = 1.06 - 0.14 * centre
    if shot.random() < 0.6:
        light = light * (0.06 + 0.94 * smooth((shot.uniform(1.32, 1.55) - centre) / 0.22))
    light *= shot.uniform(0.9, 1.08)
    noise = 0.016 if scene.site == "B" else 0.01
    image *= light
    image *= 1 + shot.uniform(-0.04, 0.04) * _WARM
    image += noise * grain(shot, canvas.size)
    return image.transpose(1, 2, 0), mask


def _skin(canvas: Canvas, rng: np.random.Generator, tone: np.ndarray) -> np.ndarray:
    """Mottled skin, its fine lines darker, small vessels redder."""
    lines = np.abs(canvas.noise(rng, 26, 20))
    mottle = 0.025 * canvas.noise(rng, 4) + 0.012 * canvas.noise(rng, 12) - 0.03 * smooth(1 - lines / 0.35)
    red = 0.022 * canvas.noise(rng, 7)
    return tone * (1 + mottle) + _BLUSH * red


def _mole(canvas: Canvas, rng: np.random.Generator, where: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The mole's opacity and its pigment, both in [0, 1]: a network of lines, globules and often a darker middle."""
    stretch = rng.uniform(1.0, 1.3)
    x, y = where
    shape = np.sqrt(canvas.ellipse(x, y, radius * stretch, radius / stretch, rng.uniform(0, 180)))
    shape += 0.07 * canvas.noise(rng, 5) + 0.03 * canvas.noise(rng, 12)
    mole = smooth((1.06 - shape) / rng.uniform(0.12, 0.3))
    mesh = smooth(1.1 - np.minimum(np.abs(canvas.noise(rng, 26)), np.abs(canvas.noise(rng, 30))) / 0.5)
    globules = smooth((canvas.noise(rng, 18) - 0.9) / 0.5)
    clouds = 0.5 + 0.55 * canvas.noise(rng, 6)
    pigment = (
        0.4 * clouds
        + rng.uniform(0.1, 0.5) * mesh
        + 0.7 * rng.random() * globules
        + rng.uniform(-0.1, 0.5) * smooth(1 - shape)
    )
    return mole, np.clip(pigment, 0, 1)


def _hairs(canvas: Canvas, rng: np.random.Generator) -> np.ndarray | None:
    count = int(rng.integers(0, 7)) * int(rng.random() < 0.7)
    if count == 0:
        return None
    middle, heading, bend = (
        rng.uniform(-0.9, 0.9, (count, 1, 2)),
        rng.uniform(0, 360, (count, 1)),
        rng.uniform(-70, 70, (count, 1)),
    )
    headings = np.radians(heading + bend * _ALONG)
    steps = np.stack([np.cos(headings), np.sin(headings)], 2) * rng.uniform(0.07, 0.16, (count, 1, 1))
    return canvas.strokes(middle + np.cumsum(steps, 1) - 5 * steps[:, :1], 0.014 - 0.007 * _ALONG)


def _veil(canvas: Canvas, lesions: Lesions, where: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    fields, rng = [], lesions.rng
    for _ in range(lesions.count):
        angle, far = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.25, 0.8)
        fields.append(blob(canvas, lesions, where[0] + far * np.cos(angle), where[1] + far * np.sin(angle), 0.4))
    field = union(fields)
    patchy = np.clip(1 + 0.2 * canvas.noise(rng, 14), 0, 1.4)
    return np.minimum(lesions.contrast**0.5 * opacity(field, 0.5) * patchy, 1), field > 0
