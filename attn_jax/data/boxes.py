"""Boxes as masks, for data sets whose findings are boxed instead of outlined."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Real

from attn_jax.data.records import BadMask
from attn_jax.errors import UserError

Boxes = tuple[tuple[float, float, float, float], ...]
"""(x0, y0, x1, y1) of each box of an image in its pixels, from the upper left corner."""


def image_boxes(boxes: Boxes, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """What the boxes of one image cover together.

    Args:
        boxes: in pixels of the image as it is stored.
        size: its height and width.

    Raises:
        BadMask: a box reaches more than a pixel beyond the image, whose size has changed since it was drawn.
    """
    height, width = size
    for box in boxes:
        if min(box) < -1 or box[2] > width + 1 or box[3] > height + 1:
            corners = ", ".join(f"{corner:g}" for corner in box)
            raise BadMask(f"its box ({corners}) is not within its {width} x {height} pixels: was the image resized?")
    return box_masks([np.asarray(boxes)], size)[0]


def box_masks(boxes: Sequence[Real[np.ndarray, "n 4"]], size: tuple[int, int]) -> Bool[np.ndarray, "B H W"]:
    """What the boxes of each image cover together: the pixels whose centres lie inside one.

    A pixel's centre lies half a pixel from its edges, so that a box between whole numbers covers the columns x0 to
    x1 - 1 and the rows y0 to y1 - 1. What lies outside the image is cut off; a box between two centres covers nothing.

    Args:
        boxes: for each image [x0, y0, x1, y1] of each box in pixels of `size`, from the upper left corner; may be none.
        size: height and width.

    Raises:
        UserError: what is no box, or one that ends before it begins.
    """
    masks = np.zeros((len(boxes), *size), dtype=bool)
    rows, columns = (np.arange(side) + 0.5 for side in size)
    for image, (mask, found) in enumerate(zip(masks, boxes, strict=True)):
        corners = np.asarray(found, dtype=np.float64)
        if not corners.size:
            continue
        if corners.ndim != 2 or corners.shape[1] != 4:
            raise UserError(f"boxes of image {image} have the shape {corners.shape}, not [n, 4] of x0, y0, x1, y1")
        if not (corners[:, :2] < corners[:, 2:]).all():
            wrong = corners[~(corners[:, :2] < corners[:, 2:]).all(axis=1)][0].tolist()
            raise UserError(f"box {wrong} of image {image} is not x0 < x1 and y0 < y1 (a width and a height perhaps?)")
        x0, y0, x1, y1 = corners.T[:, :, None]
        mask[:] = ((y0 <= rows) & (rows < y1)).T @ ((x0 <= columns) & (columns < x1))
    return masks
