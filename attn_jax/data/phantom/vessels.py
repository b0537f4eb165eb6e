"""Lung vessels: trunks that leave each hilum like spokes and fork on their way out."""

import numpy as np

from attn_jax.data.phantom.canvas import Canvas

_SPOKES = 5
_FORKS = ((2, 36), (3, -32))
_SIDE = np.repeat([-1.0, 1.0], _SPOKES)
_SPOKE = np.tile(np.linspace(-82, 78, _SPOKES), 2)
_ALONG = np.linspace(0, 1, 5)
_TAPER = np.repeat([1 - 0.8 * _ALONG, 0.45 - 0.33 * _ALONG, 0.45 - 0.33 * _ALONG], 2 * _SPOKES, 0)


def draw(
    canvas: Canvas, rng: np.random.Generator, hilum: tuple[float, float], size: np.ndarray, width: float, step: float
) -> np.ndarray:
    """Coverage in [0, 1] of both lungs' trees.

    Args:
        hilum: where the right half's tree starts; the left one mirrors it.
        size: what the anatomy's x and y are stretched by.
        width: of a trunk at the hilum.
        step: a fifth of a trunk's length.
    """
    # Rows: the trunks, then the twigs of either fork.
    heading = _SPOKE + rng.uniform(-14, 14, 2 * _SPOKES)
    heading = heading + rng.uniform(0.6, 1.3, (3, 2 * _SPOKES)) * [[0], [_FORKS[0][1]], [_FORKS[1][1]]]
    bend = rng.uniform(-1, 1, (3, 2 * _SPOKES)) * [[45], [30], [30]]
    angle = np.radians(heading[..., None] + bend[..., None] * _ALONG)
    length = step * rng.uniform(0.7, 1.25, (3, 2 * _SPOKES, 1)) * [[[1]], [[0.5]], [[0.5]]]
    lines = np.empty((3, 2 * _SPOKES, len(_ALONG), 2))
    np.cumsum(_SIDE[:, None] * np.cos(angle) * length, 2, out=lines[..., 0])
    np.cumsum(np.sin(angle) * length, 2, out=lines[..., 1])
    lines[0, ..., 0] += _SIDE[:, None] * hilum[0]
    lines[0, ..., 1] += hilum[1]
    for row, (knot, _) in enumerate(_FORKS, 1):
        lines[row] += lines[0, :, knot : knot + 1]
    return canvas.strokes(lines.reshape(-1, len(_ALONG), 2) * size, width * _TAPER)
