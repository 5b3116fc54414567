"""Outlines of a mask along the edges of its pixels, and masks from outlines.

An outline has a vertex at each corner. In each row of corners, horizontal edges connect the first with the
second, the third with the fourth, and so on; in each column, vertical edges do. A point where two pixels of
the mask meet only diagonally is two corners, and the two pixels stay apart there.

Shape suffixes: h and w pixels of a crop, H and W of the frame, N corners, 2 is (x, y).
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from partstream_core.results import Polygons
from partstream_core.rle import Rle, decode

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def outlines(mask_hw: BoolArray) -> list[IntArray]:
    """Closed outlines [N, 2] in pixels; filled they give the mask exactly.

    Both rules of filling do, even-odd and non-zero: on the screen, outlines run clockwise around the mask and
    counter-clockwise around its holes.
    """
    corners_N2, apart_N = _corners(mask_hw)
    beside_N = _partners(corners_N2[:, 1], corners_N2[:, 0], np.arange(len(corners_N2)))
    above_N = _partners(corners_N2[:, 0], corners_N2[:, 1], apart_N)
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
        corner_N2 = corners_N2[ring]
        x, y = corner_N2[0]  # the first of the topmost: what lies below is inside of the outline
        rings.append(corner_N2 if mask_hw[y, x] else corner_N2[::-1])
    return rings


def single_path(rings: Sequence[IntArray]) -> IntArray:
    """One closed path [N, 2] that fills to what the outlines fill to, by either rule.

    Formats that know one polygon an object can hold masks of several pieces and with holes so: each outline
    is joined where it is nearest to what is joined already, by a line that is walked there and back and
    encloses nothing.
    """
    if not rings:
        return np.zeros((0, 2), np.int64)
    path_N2, *waiting = rings
    for ring_N2 in waiting:
        squared = ((path_N2[:, None] - ring_N2[None]) ** 2).sum(axis=2)
        leave, arrive = divmod(int(squared.argmin()), len(ring_N2))
        turn_N2 = np.roll(ring_N2, -arrive, axis=0)
        path_N2 = np.concatenate([path_N2[: leave + 1], turn_N2, turn_N2[:1], path_N2[leave:]])
    moved_N = np.any(path_N2 != np.roll(path_N2, 1, axis=0), axis=1)
    return np.asarray(path_N2[moved_N])


def fill(polygons: Polygons) -> BoolArray:
    """Pixels [H, W] inside an odd number of rings, so that a ring inside another one is a hole.

    Rings of fewer than three points enclose nothing.
    """
    height, width = polygons.size
    mask_HW = np.zeros((height, width), np.bool_)
    for ring in polygons.rings:
        if len(ring) >= 6:
            encoded = coco.frPyObjects([list(ring)], height, width)[0]
            mask_HW ^= decode(Rle(height, width, encoded["counts"].decode("ascii")))
    return mask_HW


def as_ring(path_N2: IntArray) -> tuple[float, ...]:
    """The points as x0, y0, x1, y1, ..."""
    return tuple(itertools.chain.from_iterable(path_N2.astype(float).tolist()))


def _corners(mask_hw: BoolArray) -> tuple[IntArray, IntArray]:
    """Corners [N, 2] of the outlines, row by row, and their order [N] among those at one point."""
    padded = np.pad(mask_hw, 1).view(np.uint8)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = (upper_left ^ upper_right ^ lower_left ^ lower_right).astype(bool)
    diagonal = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    y_N, x_N = np.nonzero(odd | diagonal)
    times_N = np.where(diagonal[y_N, x_N], 2, 1)
    order_N = np.arange(times_N.sum())
    rising_N = np.repeat(diagonal[y_N, x_N] & (upper_right[y_N, x_N] > 0), times_N)
    order_N[rising_N] *= -1
    return np.repeat(np.stack([x_N, y_N], axis=1), times_N, axis=0), order_N


def _partners(line_N: IntArray, place_N: IntArray, order_N: IntArray) -> IntArray:
    """The corner at the other end of each corner's edge along its line."""
    sorted_N = np.lexsort((order_N, place_N, line_N))
    partners_N = np.empty_like(sorted_N)
    partners_N[sorted_N[0::2]] = sorted_N[1::2]
    partners_N[sorted_N[1::2]] = sorted_N[0::2]
    return partners_N
