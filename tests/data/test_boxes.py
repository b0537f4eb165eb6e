"""Boxes as masks against slices and a plain loop."""

import numpy as np
import pytest

from attn_jax.data.boxes import box_masks
from attn_jax.errors import UserError


def test_whole_numbers_are_slices():
    masks = box_masks([[[1, 2, 4, 5]], np.zeros((0, 4)), [[0, 0, 1, 1], [5, 3, 9, 9]]], (6, 7))
    wanted = np.zeros((3, 6, 7), bool)
    wanted[0, 2:5, 1:4] = True
    wanted[2, 0, 0] = wanted[2, 3:, 5:] = True
    np.testing.assert_array_equal(masks, wanted)


def test_pixels_count_by_their_centres():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-3, 14, size=(5, 3, 2, 2))
    boxes = [np.sort(found, axis=1).reshape(3, 4) for found in corners]
    masks = box_masks(boxes, (9, 12))
    for mask, found in zip(masks, boxes, strict=True):
        for row in range(9):
            for column in range(12):
                inside = any(x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1 for x0, y0, x1, y1 in found)
                assert mask[row, column] == inside
    assert 0 < masks.mean() < 1
    assert not box_masks([[[1.6, 1.6, 2.4, 2.4]]], (4, 4)).any()


@pytest.mark.parametrize(
    ("boxes", "line"),
    [
        ([[[0, 0, 1, 1]], [[5, 5, 3, 8]]], r"box \[5.0, 5.0, 3.0, 8.0\] of image 1 is not x0 < x1 and y0 < y1"),
        ([[[0, 0, np.nan, 1]]], "of image 0 is not x0 < x1"),
        ([[0, 0, 1, 1]], r"boxes of image 0 have the shape \(4,\), not \[n, 4\]"),
    ],
)
def test_mistakes(boxes, line):
    with pytest.raises(UserError, match=line):
        box_masks(boxes, (6, 6))
