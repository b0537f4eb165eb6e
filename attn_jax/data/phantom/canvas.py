"""The drawing surface of a simulated image: soft shapes, strokes and textures in the coordinates of the anatomy.

Coordinates run from -1 to 1, x to the right and y down; a pose (shift, rotation, zoom) lies between them and the
pixels. To give the same bytes on every machine, array arithmetic is either exact in IEEE single precision
(+ - * / sqrt), or done in double precision, whose last bit does not survive the rounding to eight; OpenCV draws and
blurs in integers only.
"""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

_UNIT_SPREAD = 1 / 0.277  # the cubic spline leaves 0.277 of the standard deviation of its uniform grid
_SUBPIXEL_BITS = 8
_NORMAL = np.array([-1.0, 1.0])

Points = Sequence[tuple[float, float]] | np.ndarray


def ramp(t: np.ndarray) -> np.ndarray:
    """`t` held between 0 and 1: a third of the price of `smooth`, and as good on edges of a pixel or two."""
    t = np.maximum(t, 0)
    return np.minimum(t, 1, out=t)


def smooth(t: np.ndarray) -> np.ndarray:
    """The smoothstep of `t`: 0 below 0, 1 above 1, no corner between."""
    t = ramp(t)
    rise = 3 - 2 * t
    t *= t
    rise *= t
    return rise


def blend(image: np.ndarray, level: float | np.ndarray, coverage: np.ndarray) -> None:
    """Lays `level` over `image`, in place: fully where `coverage` is 1, not at all where it is 0."""
    change = level - image
    change *= coverage
    image += change


def rounded(points: Points, closed: bool = True, rounds: int = 2) -> np.ndarray:
    """The polygon or line with its corners cut `rounds` times (Chaikin): [P, 2] -> about [P * 2**rounds, 2]."""
    points = np.asarray(points, np.float64)
    for _ in range(rounds):
        after = np.roll(points, -1, 0)
        cut = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut[1:-3], points[-1:]])
    return points


def grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """White noise [size, size], mean 0 and deviation 1: four bytes added: near enough to normal."""
    raw = rng.bit_generator.random_raw(size * size // 2 + 1).astype("<u8", copy=False).view(np.uint8)
    total = raw[: 4 * size * size].reshape(4, size, size).sum(0, dtype=np.int16)
    return (total - 510) * np.float32(1 / 147.8)


def _spline(size: int, cells: int) -> np.ndarray:
    """Weights [size, cells + 3] of the uniform cubic B-spline over `cells` intervals."""
    at = (np.arange(size) + 0.5) / size * cells
    first = np.floor(at).astype(int)
    t = at - first
    weights = np.zeros((size, cells + 3))
    pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for k, piece in enumerate(pieces):
        weights[np.arange(size), first + k] = piece / 6
    return weights


@functools.lru_cache(maxsize=64)
def _texture(size: int, cells: int, across: int) -> np.ndarray:
    """A fixed smooth field of twice the canvas' size, from which `Canvas.noise` cuts: a fifth of a fresh one's cost."""
    grid = np.random.default_rng([cells, across]).random((2 * cells + 3, 2 * across + 3)) * 2 - 1
    field = _UNIT_SPREAD * (_spline(2 * size, 2 * cells) @ grid @ _spline(2 * size, 2 * across).T)
    field = field.astype(np.float32)
    field.flags.writeable = False
    return field


def ovals(*shapes: tuple[float, float, float, float, float]) -> np.ndarray:
    """Ellipses (x, y, half axes a and b, degrees) as polygons [L, 20, 2]."""
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    polygons = []
    for x, y, a, b, degrees in shapes:
        angle = np.radians(degrees)
        u, v = a * np.cos(turn), b * np.sin(turn)
        polygons.append(
            np.stack([x + np.cos(angle) * u - np.sin(angle) * v, y + np.sin(angle) * u + np.cos(angle) * v], 1)
        )
    return np.stack(polygons)


class Canvas:
    """A square of `size` pixels over an anatomy seen at a pose.

    Attributes:
        x, y: anatomy coordinates of the pixels' centres, float32 [size, size].
    """

    def __init__(self, size: int, shift: tuple[float, float] = (0, 0), degrees: float = 0, zoom: float = 1) -> None:
        self.size = size
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        self._to_pixels = np.array([[cos, sin], [-sin, cos]]) * (zoom * size / 2)
        self._origin = (np.asarray(shift, np.float64) + 1) * (size / 2) - 0.5
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        u, v = (axis[None, :] - shift[0]) / zoom, (axis[:, None] - shift[1]) / zoom
        self.x = (cos * u).astype(np.float32) + (sin * v).astype(np.float32)
        self.y = (cos * v).astype(np.float32) - (sin * u).astype(np.float32)

    def pixels(self, points: Points) -> np.ndarray:
        """Anatomy coordinates [..., 2] -> pixel coordinates (x, y), pixel centres at whole numbers."""
        return np.asarray(points) @ self._to_pixels + self._origin

    def near(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """The window of pixels that holds everything within `reach` of (x, y)."""
        column, row = self.pixels([(x, y)])[0]
        reach = reach * self.size * 0.55 + 2
        rows, columns = (slice(max(0, int(at - reach)), max(0, int(at + reach) + 1)) for at in (row, column))
        return rows, columns

    def ellipse(
        self, x: float, y: float, a: float, b: float, degrees: float = 0, window: tuple[slice, slice] | None = None
    ) -> np.ndarray:
        """The squared distance to (x, y) in units of the half axes: below 1 inside; in a window only, if given."""
        at = window or slice(None)
        across, along = self.x[at] - np.float32(x), self.y[at] - np.float32(y)
        if degrees:
            cos, sin = np.float32(math.cos(math.radians(degrees))), np.float32(math.sin(math.radians(degrees)))
            across, along = cos * across + sin * along, cos * along - sin * across
        across *= np.float32(1 / a)
        along *= np.float32(1 / b)
        across *= across
        along *= along
        across += along
        return across

    def fill(self, polygons: Sequence[np.ndarray] | np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Coverage in [0, 1] of the union of polygons, edges softened over about `blur` (anatomy units)."""
        drawn: np.ndarray = np.zeros((self.size, self.size), np.uint8)
        groups = [polygons] if isinstance(polygons, np.ndarray) else [polygon[None] for polygon in polygons]
        for group in groups:
            # One call a polygon: a single call would leave holes where two of them overlap.
            for corners in np.rint(self.pixels(group) * (1 << _SUBPIXEL_BITS)).astype(np.int32):
                cv2.fillPoly(drawn, [corners], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        width = 2 * round(blur * self.size * 0.3) + 1
        if width > 1:
            # Twice a box: as soft as a Gaussian to the eye, four times as fast.
            drawn = cv2.blur(cv2.blur(drawn, (width, width)), (width, width))
        return drawn * np.float32(1 / 255)

    def strokes(self, lines: np.ndarray, width: float | np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Coverage of open lines [L, P, 2] of one width (anatomy units) or a width along each line: [P] or [L, P]."""
        along = np.empty_like(lines)
        along[:, 1:-1] = lines[:, 2:] - lines[:, :-2]
        along[:, 0], along[:, -1] = lines[:, 1] - lines[:, 0], lines[:, -1] - lines[:, -2]
        half = 0.5 * width / (np.sqrt(np.square(along).sum(2)) + 1e-9)
        side = along[..., ::-1] * _NORMAL * half[..., None]
        return self.fill(np.concatenate([lines + side, (lines - side)[:, ::-1]], 1), blur=blur)

    def noise(self, rng: np.random.Generator, cells: int, cells_across: int | None = None) -> np.ndarray:
        """A smooth random field, mean 0 and deviation about 1, with `cells` bumps down (and across) the image."""
        row, column, flip = rng.random(3)
        row, column = int(row * self.size), int(column * self.size)
        field = _texture(self.size, cells, cells_across or cells)[row : row + self.size, column : column + self.size]
        return field[::-1] if flip < 0.5 else field
