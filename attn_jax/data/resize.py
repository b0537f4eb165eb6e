"""Images and masks to the working size: area averaging where an axis shrinks, cubic interpolation where it grows."""

import cv2
import numpy as np


def fit_image(image: np.ndarray, size: int, channels: int, space: int = 2) -> np.ndarray:
    """The image at `size` along each spatial axis; the aspect ratio is not kept.

    Args:
      image: `[*space]` or `[*space, C]` with C 1 or 3, uint8, uint16, or float32 in [0, 1].
      size: pixels along each spatial axis.
      channels: 1 (colour becomes luminance) or 3 (grey is repeated).
      space: number of spatial axes, 2 or 3.

    Returns:
      `[size] * space + [channels]`; uint8 stays so, everything else becomes uint16.
    """
    if image.ndim == space:
        image = image[..., None]
    if image.shape[-1] == 3 and channels == 1:
        grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        image = (grey if image.dtype == np.float32 else np.rint(grey).astype(image.dtype))[..., None]
    image = _resize(image, size, space)
    if image.dtype == np.float32:
        image = np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)
    if image.shape[-1] == 1 and channels == 3:
        image = np.repeat(image, 3, axis=-1)
    return image


def fit_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """The mask, bool `[*space]`, at `size`: uint8, 1 where at least half is covered; never empty unless it was."""
    cover = _resize(mask.astype(np.float32)[..., None], size, mask.ndim)[..., 0]
    fitted = (cover >= 0.5).astype(np.uint8)
    if not fitted.any() and mask.any():
        fitted.flat[np.argmax(cover)] = 1
    return fitted


def _resize(image: np.ndarray, size: int, space: int) -> np.ndarray:
    """`[*space, C]` to `[size, ..., C]` in the same dtype."""
    if space == 3:
        image = np.stack([_resize(plane, size, 2) for plane in image])
        table = image.reshape(len(image), size, -1)
        return _resize_plane(table, size, size).reshape(size, *image.shape[1:])
    height, width = image.shape[:2]
    # OpenCV has one method for both axes: where one shrinks and the other grows, the shrinking one goes first.
    image = _resize_plane(image, min(size, height), min(size, width))
    return _resize_plane(image, size, size)


def _resize_plane(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    columns = [
        cv2.resize(np.ascontiguousarray(image[..., start : start + 4]), (width, height), interpolation=method).reshape(
            height, width, -1
        )
        for start in range(0, image.shape[-1], 4)
    ]
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)
