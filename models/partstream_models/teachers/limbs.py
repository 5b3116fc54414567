"""Bones between joints: which pixels lie near, and on which side of the body.

Shape suffixes: H height, W width, J joints (17, COCO order).
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

Bones = Sequence[tuple[int, int]]
SKELETON: Final = (
    (5, 6), (11, 12), (5, 11), (6, 12), (5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14),
    (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6),
)  # fmt: skip
LIMB_OF_ANSWER: Final = {
    2: ((5, 7), (7, 9)), 3: ((6, 8), (8, 10)), 5: ((11, 13), (13, 15)), 6: ((12, 14), (14, 16)),
    7: ((13, 15),), 8: ((14, 16),),
}  # fmt: skip
"""Bones of each answer that has a side (`data.photos.partial_labels`)."""
_LEAST_SCORE = 0.15
_SWAPPED = 0.8
"""Sides are in doubt where exchanging them brings joints nearer than this share of their distance."""


def bone_distance(joints_J3: Float32Array, bones: Bones, size: tuple[int, ...]) -> Float32Array:
    """Distance of each pixel to the nearest bone, plus one, in pixels; infinite where no bone is seen."""
    drawn = np.ones(size, np.uint8)
    for one, other in bones:
        if min(joints_J3[one, 2], joints_J3[other, 2]) > _LEAST_SCORE:
            start, end = (tuple(int(value) for value in joints_J3[row, :2].round()) for row in (one, other))
            cv2.line(drawn, (start[0], start[1]), (end[0], end[1]), 0, 1)
    if drawn.all():
        return np.full(size, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform(drawn, cv2.DIST_L2, 3), np.float32) + 1


def same_sides(joints_J3: Float32Array, others_J3: Float32Array, rows: Sequence[int]) -> bool:
    """Whether two answers take the same limb for the left one.

    Args:
        joints_J3: x, y and score of one network.
        others_J3: Of the other.
        rows: Left joints of the limb; each one's right joint is the next row.
    """
    straight = swapped = 0.0
    for left in rows:
        pair = [left, left + 1]
        if min(joints_J3[pair, 2].min(), others_J3[pair, 2].min()) > _LEAST_SCORE:
            straight += float(np.linalg.norm(joints_J3[pair, :2] - others_J3[pair, :2], axis=1).sum())
            swapped += float(np.linalg.norm(joints_J3[pair, :2] - others_J3[pair[::-1], :2], axis=1).sum())
    return swapped >= _SWAPPED * straight
