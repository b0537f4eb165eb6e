"""How alike two maps of an image are: SSIM and Spearman's rank correlation, of whole batches."""

import numpy as np
from jaxtyping import Float, Real
from scipy import ndimage, stats

from attn_jax.errors import UserError
from attn_jax.explain.arrays import stretched

_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2
# Maps of so many pixels together stay in a processor's cache, which halves the time at 224 x 224.
_BLOCK = 1 << 16


def ssim(first: Real[np.ndarray, "B *space"], second: Real[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Structural similarity of each pair of maps (Wang et al. 2004, doi 10.1109/TIP.2003.819861, equation 13).

    Both are stretched to [0, 1] first. Windows are even, 7 pixels wide, with sample covariances, and lie inside the map
    entirely, as scikit-image's `structural_similarity` has it by default. NaN where one of the two is constant.

    Raises:
        ValueError: the batches differ in shape.
        UserError: a side of the maps is less than 7 pixels.
    """
    _alike(first, second)
    if min(np.shape(first)[1:]) < _WINDOW:
        size = " x ".join(map(str, np.shape(first)[1:]))
        raise UserError(
            f"maps of {size} are too small for SSIM's {_WINDOW} pixels; bring them to the image's size first"
        )
    step = max(1, _BLOCK // int(np.prod(np.shape(first)[1:])))
    found = np.empty(len(first))
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        found[block] = _ssim(stretched(first[block]), stretched(second[block]))
    return found


def spearman(first: Real[np.ndarray, "B *space"], second: Real[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    """Spearman's rank correlation over the pixels of each pair of maps; equal pixels share their mean rank.

    The first measure of Adebayo et al. 2018, arXiv 1810.03292; they also take it of absolute values. NaN where one of
    the two is constant or has NaN.

    Raises:
        ValueError: the batches differ in shape.
    """
    _alike(first, second)
    x, y = (_centred_ranks(np.reshape(maps, (len(maps), -1))) for maps in (first, second))
    length = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    defined = length > 0
    return np.where(defined, (x * y).sum(axis=1) / np.where(defined, length, 1), np.nan)


def _ssim(x: Float[np.ndarray, "B *space"], y: Float[np.ndarray, "B *space"]) -> Float[np.ndarray, "B"]:
    space = tuple(range(1, x.ndim))
    defined = ~(np.isnan(x) | np.isnan(y)).any(axis=space)
    x, y = np.nan_to_num(x), np.nan_to_num(y)

    def mean(values: Float[np.ndarray, "B *space"]) -> Float[np.ndarray, "B *space"]:
        return ndimage.uniform_filter(values, _WINDOW, axes=space)

    pixels = _WINDOW ** len(space)
    sample = pixels / (pixels - 1)
    mean_x, mean_y = mean(x), mean(y)
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    variances = sample * (mean(x * x + y * y) - mean_x**2 - mean_y**2)
    similar = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    similar /= (mean_x**2 + mean_y**2 + _C1) * (variances + _C2)
    margin = _WINDOW // 2
    whole = similar[(slice(None), *[slice(margin, -margin)] * len(space))]
    return np.where(defined, whole.mean(axis=space), np.nan)


def _centred_ranks(maps: Real[np.ndarray, "B P"]) -> Float[np.ndarray, "B P"]:
    return stats.rankdata(maps, axis=1) - (maps.shape[1] + 1) / 2


def _alike(first: np.ndarray, second: np.ndarray) -> None:
    if np.shape(first) != np.shape(second):
        raise ValueError(f"maps {np.shape(first)} and {np.shape(second)} differ; bring both to one size first")
