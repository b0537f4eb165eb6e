"""A frontal chest radiograph: shoulders, lungs, ribs, clavicles, spine, heart and diaphragm.

The lesion is a soft opacity in a lung.
"""

import numpy as np

from attn_jax.data.phantom import vessels
from attn_jax.data.phantom.canvas import Canvas, blend, grain, rounded, smooth
from attn_jax.data.phantom.lesions import Lesions, blob, opacity, union
from attn_jax.data.phantom.scene import Scene

_MIRROR = np.array([-1.0, 1.0])
_HALF = np.array([(-0.2, -1.2), (-0.22, -0.93), (-0.62, -0.8), (-1.02, -0.62), (-1.2, 0), (-0.93, 0.0), (-0.9, 1.2)])
_BODY = rounded(np.concatenate([_HALF, _HALF[::-1] * _MIRROR]))
_LUNG = rounded(
    [
        (0.26, -0.88),
        (0.42, -0.84),
        (0.58, -0.6),
        (0.7, -0.15),
        (0.76, 0.3),
        (0.79, 0.66),
        (0.66, 0.5),
        (0.46, 0.42),
        (0.24, 0.46),
        (0.11, 0.56),
        (0.1, 0.2),
        (0.12, -0.2),
        (0.1, -0.6),
    ]
)
_HEART = rounded(
    [
        (-0.02, -0.12),
        (0.14, -0.1),
        (0.3, 0.06),
        (0.43, 0.28),
        (0.5, 0.46),
        (0.34, 0.56),
        (0.0, 0.56),
        (-0.2, 0.5),
        (-0.26, 0.28),
        (-0.18, 0.06),
    ]
)
_CLAVICLE = rounded([(0.07, -0.62), (0.2, -0.67), (0.36, -0.69), (0.54, -0.76), (0.74, -0.77)], closed=False)
_CLAVICLES = np.stack([_CLAVICLE, _CLAVICLE * _MIRROR])


def _rib_lines() -> tuple[np.ndarray, np.ndarray]:
    """Nine posterior ribs of the left side and the anterior ends of six, as lines [L, 9, 2] below their own starts."""
    t, k = np.linspace(0, 1, 9), np.arange(9.0)[:, None]
    reach = 0.42 + 0.34 * np.minimum(1, (k + 1) / 4.5) ** 0.7
    x = 0.06 + (reach - 0.06) * np.sin(np.pi / 2 * t**0.85)
    behind = np.stack([x, (0.12 + 0.03 * k) * t**2.2 - (0.07 - 0.02 * k) * np.sin(np.pi * t * 0.7)], -1)
    k, reach = k[1:7], reach[1:7]
    x = 0.2 + 0.02 * k + (reach - 0.24) * np.sin(np.pi / 2 * t)
    return behind, np.stack([x, 0.2 + (0.1 + 0.012 * k) * (1 - t) ** 1.2 + 0.06 * (1 - t)], -1)


_BEHIND, _FRONT = _rib_lines()


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the radiograph in about [0, 1] and the mask of its lesions, if any."""
    canvas, rng, shot = scene.canvas, scene.anatomy, scene.acquisition
    wide, tall = rng.uniform(0.92, 1.06), rng.uniform(0.94, 1.05)
    size = np.array([wide, tall])

    left = _LUNG * size + [0, rng.uniform(0.0, 0.06)]
    right = _LUNG * size * _MIRROR - [0, rng.uniform(0.0, 0.05)]
    lungs = canvas.fill([left, right], blur=0.04)
    body = canvas.fill([_BODY * [wide, 1]])
    image = 0.6 + 0.1 * canvas.y
    centre = (canvas.x - np.float32(rng.uniform(-0.02, 0.02))) * 8
    off_centre = centre * centre
    image += (0.16 + 0.04 * canvas.y) / (1 + off_centre * off_centre)
    spine = slice(None), slice(int(0.35 * canvas.size), int(0.65 * canvas.size) + 1)
    vertebrae = canvas.y[spine] * rng.uniform(3.6, 4.4) + rng.random()
    vertebrae = np.abs(vertebrae - np.floor(vertebrae) - 0.5)
    image[spine] += smooth(1.5 - off_centre[spine]) * (0.045 * smooth(vertebrae * 5 - 0.4) - 0.02)
    image *= body
    image += 0.03
    trachea = canvas.near(0, -0.7, 0.45)
    image[trachea] -= 0.13 * smooth(2 - 2 * canvas.ellipse(0, -0.7, 0.05, 0.42, window=trachea))
    markings = _markings(canvas, rng, size)
    markings -= rng.uniform(0.46, 0.52)
    markings *= lungs
    image += markings
    heart = _heart(canvas, rng, size)
    mask = None
    if scene.lesions is not None:
        shadow, mask = _opacities(canvas, scene.lesions, size, (lungs > 0.5) & (heart < 0.5))
        image += 0.5 * shadow
    blend(image, 0.66, 0.9 * heart)
    behind, front = _ribs(rng, size)
    image += 0.07 * canvas.strokes(behind, 0.07)
    image += 0.035 * canvas.strokes(front, 0.07)
    image += 0.07 * body * canvas.strokes(_CLAVICLES * size, 0.08)
    if scene.sex == "F":
        breasts = [canvas.ellipse(side * 0.5 * wide, 0.36, 0.36, 0.3) for side in (-1, 1)]
        image += 0.06 * smooth(2.4 - 2 * np.minimum(*breasts)) * body
    if rng.random() < 0.7:
        bubble = canvas.near(0.42 * wide, 0.72, 0.13)
        image[bubble] -= 0.14 * smooth(
            2 - 2 * canvas.ellipse(0.42 * wide, 0.72, 0.13, 0.09, rng.uniform(-20, 20), bubble)
        )

    image *= shot.uniform(0.94, 1.06)
    image += 0.02 * canvas.noise(shot, 3) + shot.uniform(-0.025, 0.025)
    dose = 0.028 if scene.site == "B" else 0.018
    image += dose * grain(shot, canvas.size) * (0.6 + image)
    return image, mask


def _ribs(rng: np.random.Generator, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The posterior and the anterior ribs of both sides."""
    starts = np.zeros((9, 1, 2))
    starts[:, 0, 1] = rng.uniform(-0.86, -0.8) + rng.uniform(0.145, 0.16) * np.arange(9)
    behind, front = (_BEHIND + starts) * size, (_FRONT + starts[1:7]) * size
    return np.concatenate([behind, behind * _MIRROR]), np.concatenate([front, front * _MIRROR])


def _heart(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    shape = _HEART * size * [rng.uniform(0.88, 1.1), 1] + [0.01, 0.0]
    heart = canvas.fill([shape], blur=0.05)
    arch = canvas.near(0.09, -0.36, 0.15)
    heart[arch] = np.maximum(heart[arch], 0.6 * smooth(2 - 1.5 * canvas.ellipse(0.09, -0.36, 0.105, 0.12, window=arch)))
    return heart


def _markings(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Vessels, and a fine texture that fades with distance from both hila."""
    trees = vessels.draw(canvas, rng, (0.13, -0.04), size, width=0.05, step=0.105)
    # |x| folds the two hila onto one.
    apart = np.abs(canvas.x) * 7.7 - 1.45
    apart *= apart
    near = 1 / (1.0 + 0.6 * apart + 15 * np.square(canvas.y + 0.02))
    texture = 0.035 * canvas.noise(rng, 16) + 0.025 * canvas.noise(rng, 30)
    texture += 0.11 * trees
    texture += 0.13
    return (near + 0.4) * texture


def _opacities(canvas: Canvas, lesions: Lesions, size: np.ndarray, lungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fields, rng = [], lesions.rng
    side = rng.choice([-1, 1])
    for _ in range(lesions.count):
        y = rng.uniform(-0.5, 0.3)
        inner = 0.3 if side < 0 else 0.3 + 0.3 * max(0, y + 0.1)
        x = side * rng.uniform(inner, 0.46 + 0.16 * (y + 0.5))
        fields.append(blob(canvas, lesions, x * size[0], y * size[1]))
        side = -side
    field = union(fields)
    return lesions.contrast * opacity(field, 0.9), (field > 0) & lungs
