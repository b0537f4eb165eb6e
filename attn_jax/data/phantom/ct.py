"""An axial chest CT slice in a wide window: chest wall, lungs with vessels, heart, vertebra and the table under it.

The lesion is ground glass in a lung.
"""

import numpy as np

from attn_jax.data.phantom import vessels
from attn_jax.data.phantom.canvas import Canvas, blend, grain, ovals, ramp, rounded, smooth
from attn_jax.data.phantom.lesions import Lesions, blob, opacity, union
from attn_jax.data.phantom.scene import Scene

_AIR, _LUNG_LEVEL, _FAT, _SOFT, _BONE = 0.02, 0.17, 0.5, 0.62, 0.92
_RIGHT = rounded(
    [
        (-0.1, -0.42),
        (-0.28, -0.5),
        (-0.52, -0.38),
        (-0.68, -0.08),
        (-0.68, 0.2),
        (-0.52, 0.42),
        (-0.3, 0.48),
        (-0.15, 0.34),
        (-0.14, 0.1),
        (-0.22, -0.05),
        (-0.2, -0.2),
    ]
)
_LEFT = rounded(
    [
        (0.12, -0.44),
        (0.28, -0.5),
        (0.5, -0.4),
        (0.67, -0.08),
        (0.68, 0.2),
        (0.54, 0.42),
        (0.32, 0.48),
        (0.2, 0.36),
        (0.2, 0.16),
        (0.38, 0.06),
        (0.42, -0.1),
        (0.32, -0.24),
        (0.18, -0.3),
    ]
)
_TURN = np.radians(np.linspace(-9, 9, 6)[None] + np.array([-62, -33, -8, 20, 48])[:, None])
_RIBS = np.concatenate([np.stack([side * 0.755 * np.cos(_TURN), 0.56 * np.sin(_TURN)], 2) for side in (-1, 1)])
_BLADE = np.array([(0.5, 0.6), (0.57, 0.56), (0.63, 0.52), (0.68, 0.47), (0.73, 0.42), (0.78, 0.36)])
_BONES = np.concatenate([_RIBS, [_BLADE, _BLADE * [-1, 1]]])
_BONE_WIDTH = np.array([0.05] * len(_RIBS) + [0.028] * 2)[:, None]
_HEART = ovals((0.1, -0.12, 0.28, 0.2, 25))
_BLOOD = ovals((0.17, -0.1, 0.15, 0.09, 30), (-0.06, -0.2, 0.08, 0.08, 0), (0.14, 0.3, 0.07, 0.07, 0))
_BRONCHI = ovals((-0.045, 0.1, 0.035, 0.028, 0), (0.075, 0.1, 0.03, 0.025, 0))
_VERTEBRA = ovals(
    (-0.01, 0.46, 0.13, 0.105, 0),
    (-0.13, 0.58, 0.095, 0.026, -20),
    (0.11, 0.58, 0.095, 0.026, 20),
    (-0.01, 0.66, 0.022, 0.06, 0),
)
_MARROW, _CANAL = ovals((-0.01, 0.46, 0.1, 0.075, 0)), ovals((-0.01, 0.585, 0.045, 0.035, 0))
_DOT = ovals((0, 0, 1, 1, 0))[0, ::3]


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the slice in about [0, 1] and the mask of its lesions, if any."""
    canvas, rng, shot = scene.canvas, scene.anatomy, scene.acquisition
    size = np.array([rng.uniform(0.94, 1.06), rng.uniform(0.92, 1.06)])
    image = np.full_like(canvas.x, _AIR)
    low = slice(int(0.8 * canvas.size), None)
    table = np.abs(canvas.y[low] - 0.86 + 0.1 * canvas.x[low] * canvas.x[low])
    image[low] += 0.3 * ramp((0.022 - table) / 0.012) * (np.abs(canvas.x[low]) < 0.92)
    _wall(canvas, rng, size, image)

    lungs = canvas.fill([_RIGHT * size, _LEFT * size], blur=0.008)
    air = _LUNG_LEVEL + 0.04 * canvas.y + 0.012 * canvas.noise(rng, 9) + 0.012 * canvas.noise(rng, 26)
    trees = vessels.draw(canvas, rng, (0.17, 0.05), size, width=0.036, step=0.077)
    blend(air, _SOFT, 0.8 * np.maximum(trees, _dots(canvas, rng, size)))
    mask = None
    if scene.lesions is not None:
        veil, mask = _ground_glass(canvas, scene.lesions, size, lungs > 0.5)
        blend(air, _SOFT, veil)
    blend(image, air, lungs)
    _mediastinum(canvas, rng, size, image)

    image *= shot.uniform(0.95, 1.05)
    image += shot.uniform(-0.02, 0.02)
    noise = 0.032 if scene.site == "B" else 0.02
    fine = grain(shot, canvas.size)
    # Reconstruction correlates neighbouring pixels.
    fine[1:] += fine[:-1]
    fine[:, 1:] += 0.6 * fine[:, :-1]
    image += 0.65 * noise * fine
    return image, mask


def _wall(canvas: Canvas, rng: np.random.Generator, size: np.ndarray, image: np.ndarray) -> None:
    """Draws skin, fat, muscle, ribs, scapulae and sternum over `image`, in place."""
    u, v = canvas.x / float(size[0]), canvas.y / float(size[1])
    # A superellipse: a chest is boxier than an ellipse.
    uu, vv = np.square(u / 0.9), np.square((v - 0.01) / 0.72)
    edge = np.sqrt(0.5 * (np.sqrt(uu * uu + vv * vv) + uu + vv))
    fat = rng.uniform(0.06, 0.12)
    tissue = _FAT + (_SOFT - _FAT) * ramp((1 - fat - edge + 0.015 * canvas.noise(rng, 7)) / 0.02)
    tissue += 0.02 * canvas.noise(rng, 20)
    bones = canvas.strokes(_BONES * size + [0, rng.uniform(-0.03, 0.03)], _BONE_WIDTH)
    front = canvas.near(0, -0.56 * size[1], 0.15)
    sternum = canvas.ellipse(0, -0.56 * size[1], 0.12, 0.045, window=front)
    bones[front] = np.maximum(bones[front], 0.8 * smooth((1.1 - sternum) / 0.4))
    blend(tissue, _BONE, bones)
    blend(image, tissue, ramp((1 - edge) / 0.015))


def _mediastinum(canvas: Canvas, rng: np.random.Generator, size: np.ndarray, image: np.ndarray) -> None:
    """Draws heart, great vessels, bronchi and the vertebra over `image`, in place."""
    grow = rng.uniform(0.92, 1.08)
    blend(image, _SOFT, canvas.fill(_HEART * size * grow))
    blend(image, rng.uniform(0.66, 0.78), canvas.fill(_BLOOD * size, blur=0.02))
    blend(image, _AIR, canvas.fill(_BRONCHI * size))
    blend(image, _BONE, canvas.fill(_VERTEBRA * size))
    blend(image, 0.78, canvas.fill(_MARROW * size, blur=0.02))
    blend(image, _SOFT, canvas.fill(_CANAL * size))


def _dots(canvas: Canvas, rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Vessels cut across, thinner further out."""
    x, y, thick = rng.uniform(0.22, 0.64, 18), rng.uniform(-0.42, 0.42, 18), rng.uniform(0.5, 1, 18)
    centres = np.stack([np.where(np.arange(18) % 2, x, -x), y], 1) * size
    radii = (0.02 - 0.018 * x) * thick
    return canvas.fill(centres[:, None] + radii[:, None, None] * _DOT)


def _ground_glass(
    canvas: Canvas, lesions: Lesions, size: np.ndarray, lungs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    fields, rng = [], lesions.rng
    side = rng.choice([-1, 1])
    for _ in range(lesions.count):
        angle = np.radians(rng.uniform(-40, 60))
        fields.append(
            blob(canvas, lesions, side * (0.28 + 0.24 * np.cos(angle)) * size[0], 0.36 * np.sin(angle) * size[1], 0.4)
        )
        side = -side
    field = union(fields)
    patchy = 1 + 0.15 * canvas.noise(rng, 22)
    return 0.85 * lesions.contrast * opacity(field, 0.45) * patchy, (field > 0) & lungs
