"""Boxes: areas, overlaps, and the box of a mask.

Boxes are xyxy; a box covers the pixels from (x1, y1) up to, not including, (x2, y2).
Shape suffixes: N and M boxes, H height, W width.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating]
Box: TypeAlias = tuple[float, float, float, float]


def area(boxes_N4: FloatArray) -> FloatArray:
    """Area of each box, [N]; a box turned inside out has none."""
    width = np.maximum(boxes_N4[:, 2] - boxes_N4[:, 0], 0)
    height = np.maximum(boxes_N4[:, 3] - boxes_N4[:, 1], 0)
    return np.asarray(width * height)


def iou_matrix(a_N4: FloatArray, b_M4: FloatArray) -> FloatArray:
    """Intersection over union of each pair, [N, M]; 0 where both boxes are empty."""
    top_left = np.maximum(a_N4[:, None, :2], b_M4[None, :, :2])
    bottom_right = np.minimum(a_N4[:, None, 2:], b_M4[None, :, 2:])
    shared = np.maximum(bottom_right - top_left, 0).prod(axis=2)
    union = area(a_N4)[:, None] + area(b_M4)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def clip(boxes_N4: FloatArray, *, height: float, width: float) -> FloatArray:
    """The boxes cut to a frame of that height and width, [N, 4]."""
    limit = np.array([width, height, width, height], boxes_N4.dtype)
    return np.asarray(np.clip(boxes_N4, 0, limit))


def box_of_mask(mask_HW: npt.NDArray[np.bool_]) -> Box | None:
    """The smallest box around the mask's pixels, or None for an empty mask."""
    rows = np.flatnonzero(mask_HW.any(axis=1))
    columns = np.flatnonzero(mask_HW.any(axis=0))
    if rows.size == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
