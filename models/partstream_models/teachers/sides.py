"""Whether joints and BodyPix agree about left and right.

BodyPix takes a left leg for a right one where legs cross and where people turn their backs, and so do MoveNet
and BlazePose. Where they contradict each other, nothing tells which of them is right: the side is in dispute.

Shape suffixes: c hint channels, h and w the hint grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_evaluation.ccp import HINT_STRIDE
from partstream_models.teachers.limbs import LIMB_OF_ANSWER, bone_distance, same_sides
from partstream_models.teachers.people import FoundPerson

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

ARMS: Final = (2, 3)
LEGS: Final = (5, 6)
FEET: Final = (7, 8)
JOINTS_OF_LIMB: Final = {ARMS: (7, 9), LEGS: (13, 15), FEET: (13, 15)}
"""Left joints of each pair of limbs, which is named by its two answers (`data.photos.partial_labels`)."""
OTHER_SIDE: Final = 0.75
"""A place nearer to a limb than this, against the distance to the other side's, is on the limb's side."""
_INSIDE = 0.3
_SEEN = 128
"""Hints from which on a limb is there."""
_LEAST_CELLS = 6
_DISPUTED = 0.3


@dataclass(frozen=True, slots=True)
class SideVotes:
    """Cells of the hint grid that show one person's pair of limbs, where the joints tell the side."""

    limbs: tuple[int, int]
    num_cells: int
    num_against: int
    """Cells to which BodyPix gives the other side."""

    @property
    def disputed(self) -> bool:
        """Whether BodyPix contradicts the joints about more than single cells."""
        return self.num_cells >= _LEAST_CELLS and self.num_against > _DISPUTED * self.num_cells


def count_sides(hints_chw: UInt8Array, found: FoundPerson) -> tuple[SideVotes, ...]:
    """Votes for arms, legs and feet; limbs are left out where MoveNet and BlazePose contradict each other.

    Args:
        hints_chw: Of BodyPix and DeepLab (`hints`), made from the picture in which the person was found.
        found: The person.
    """
    votes = []
    for limbs, told, is_left in _sides(found, hints_chw.shape[1:]):
        left, right = (hints_chw[answer - 1] for answer in limbs)
        seen = told & (np.maximum(left, right) >= _SEEN)
        votes.append(SideVotes(limbs, int(seen.sum()), int((seen & ((left > right) != is_left)).sum())))
    return tuple(votes)


def _sides(
    found: FoundPerson, grid: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], BoolArray, BoolArray]]:
    """Pairs of limbs, cells where the joints tell the side, and whether that is the left one."""
    mask = found.posed.mask_HW
    rows, columns = (
        np.minimum(np.arange(cells) * HINT_STRIDE, length - 1)
        for cells, length in zip(grid, mask.shape, strict=True)
    )
    cells = np.ix_(rows, columns)
    inside = cv2.blur(mask, (9, 9))[cells] > _INSIDE
    for limbs, joints in JOINTS_OF_LIMB.items():
        if not same_sides(found.joints_J3, found.posed.joints_J3, joints):
            continue
        left, right = (
            bone_distance(found.joints_J3, LIMB_OF_ANSWER[answer], mask.shape)[cells] for answer in limbs
        )
        clear = (left < OTHER_SIDE * right) | (right < OTHER_SIDE * left)
        yield limbs, inside & clear & np.isfinite(left + right), left < right
