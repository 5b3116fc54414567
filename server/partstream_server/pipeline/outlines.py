"""Outlines of a mask along the edges of its pixels.

An outline has a vertex at each corner. In each row of corners, horizontal edges connect the first with the
second, the third with the fourth, and so on; in each column, vertical edges do. A point where two pixels of
the mask meet only diagonally is two corners.

Shape suffixes: h and w pixels, N corners, 2 is (x, y).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def outlines(mask_hw: npt.NDArray[np.bool_]) -> list[IntArray]:
    """Closed outlines [N, 2] in pixels; filled by the even-odd rule they give the mask exactly."""
    corners_N2 = _corners(mask_hw)
    beside_N = _partners(corners_N2[:, 1], corners_N2[:, 0])
    above_N = _partners(corners_N2[:, 0], corners_N2[:, 1])
    beside, above = beside_N.tolist(), above_N.tolist()
    seen = bytearray(len(corners_N2))
    rings = []
    for first in range(len(corners_N2)):
        if seen[first]:
            continue
        ring, at = [], first
        while not seen[at]:
            next_one = beside[at]
            seen[at] = seen[next_one] = 1
            ring += [at, next_one]
            at = above[next_one]
        rings.append(corners_N2[ring])
    return rings


def _corners(mask_hw: npt.NDArray[np.bool_]) -> IntArray:
    """Corners [N, 2] of the outlines, row by row."""
    padded = np.pad(mask_hw, 1).view(np.uint8)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = (upper_left ^ upper_right ^ lower_left ^ lower_right).astype(bool)
    diagonal = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    y_N, x_N = np.nonzero(odd | diagonal)
    times_N = np.where(diagonal[y_N, x_N], 2, 1)
    return np.repeat(np.stack([x_N, y_N], axis=1), times_N, axis=0)


def _partners(line_N: IntArray, place_N: IntArray) -> IntArray:
    """The corner at the other end of each corner's edge along its line."""
    order_N = np.lexsort((np.arange(len(line_N)), place_N, line_N))
    partners_N = np.empty_like(order_N)
    partners_N[order_N[0::2]] = order_N[1::2]
    partners_N[order_N[1::2]] = order_N[0::2]
    return partners_N
