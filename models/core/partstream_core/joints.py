"""The 17 joints of a person: names, the skeleton, and how a network's maps become joints.

Names and order are those of COCO's keypoints. Left and right are the person's own.

A person's joints are decoded in two steps: the regression at the person's center gives a first guess of each
joint, and the peak of the joint's heat map near the guess gives its place.

Shape suffixes: R people, J joints (17), h and w the maps, K and L rows and columns of a window.

Source: COCO keypoint detection task (Lin et al., ECCV 2014); MoveNet MultiPose Lightning (Google); Zhou et
al., Objects as Points, 2019.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

FloatArray = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

JOINTS: Final = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Names in COCO's order."""

NUM_JOINTS: Final = len(JOINTS)

SKELETON: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Pairs of joints that a line of the skeleton connects."""

FLIP_PAIRS: Final = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
"""Pairs of joints that change places when a picture is mirrored."""

FLIPPED: Final = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""For each joint, the joint that it is in the mirrored picture."""

SURE: Final = 0.3
"""Score from which a joint counts as visible: others are not drawn, and hidden in COCO's files."""

JOINT_OUTPUTS: Final = {
    "joint_centers": 1,
    "joint_heatmaps": NUM_JOINTS,
    "joint_regression": 2 * NUM_JOINTS,
    "joint_offsets": 2 * NUM_JOINTS,
}
"""Outputs of a bundle's graph `backbone` that joints are decoded from, with their channels."""

_DISTANCE_FLOOR: Final = np.float32(1.8)
"""Cells added to the distance from the first guess (MoveNet)."""
_REACH_SHARE: Final = 0.2
"""Of a person's extent, which is the longer side of the box around their first guesses."""
_LEAST_REACH: Final = 4.0
_MOST_REACH: Final = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class JointMaps:
    """Person centers and joints of one frame; all maps cover the frame."""

    centers_hw: FloatArray
    """Heat map of person centers, in [0, 1]."""
    heatmaps_Jhw: FloatArray
    """Heat map of each joint, in [0, 1]."""
    regression_2Jhw: FloatArray
    """For the person whose center is in a cell: y (channel 2j) and x (2j + 1) of joint j less the cell's."""
    offsets_2Jhw: FloatArray
    """For the joint j whose peak is in a cell: its y (channel 2j) and x (2j + 1) less the cell's."""

    def __post_init__(self) -> None:
        size = self.centers_hw.shape
        found = tuple(each.shape for each in (self.heatmaps_Jhw, self.regression_2Jhw, self.offsets_2Jhw))
        wanted = tuple((channels, *size) for channels in (NUM_JOINTS, 2 * NUM_JOINTS, 2 * NUM_JOINTS))
        if len(size) != 2 or 0 in size or found != wanted:
            raise ValueError(
                f"joint maps must be [h, w], [17, h, w], [34, h, w] twice, got {size} and {found}"
            )


def decode_joints(maps: JointMaps, masks_Rhw: npt.NDArray[Any]) -> Float32Array:
    """The joints of people whose masks are known: x, y and score, [R, J, 3].

    Args:
        maps: Of the frame.
        masks_Rhw: True, or a weight above 0, where a cell is the person's.

    Places are in cells of the maps, from the left and top edge of the frame: the width of the frame in any
    unit divided by w is the width of a cell.

    Raises:
        ValueError: Masks and maps have different sizes.
    """
    return joints_at(maps, center_cells(maps.centers_hw, masks_Rhw))


def center_cells(centers_hw: FloatArray, masks_Rhw: npt.NDArray[Any]) -> IntArray:
    """Row and column of each person's center, [R, 2]: where center map times mask is greatest.

    A person none of whose cells has a center value above 0 has it in the first of their cells.

    Raises:
        ValueError: Masks and map have different sizes.
    """
    if masks_Rhw.shape[1:] != centers_hw.shape:
        raise ValueError(f"masks must be [R, {centers_hw.shape}], got {masks_Rhw.shape}")
    width = centers_hw.shape[1]
    # where the person has no center at all, their cells are still above all others
    values_Rhw = masks_Rhw * (centers_hw.astype(np.float32) + np.float32(1e-9))
    index_R = values_Rhw.reshape(len(masks_Rhw), centers_hw.size).argmax(axis=1)
    return np.stack([index_R // width, index_R % width], axis=1)


def joints_at(maps: JointMaps, cells_R2: IntArray) -> Float32Array:
    """The joints of people whose centers are known: x, y and score, [R, J, 3]; places as `decode_joints` has.

    A joint is in the cell whose heat divided by its distance from the first guess (plus 1.8 cells) is
    greatest, among those within a fifth of the person's extent (and 4 to 12 cells) of the guess; its score is
    that cell's heat. MoveNet looks everywhere, so that a hidden joint jumps to the same joint of somebody
    else. A joint with no cell in reach, because its guess is outside the frame, stays there with score 0.

    Args:
        maps: Of the frame.
        cells_R2: Row and column of each center.
    """
    if not len(cells_R2):
        return np.zeros((0, NUM_JOINTS, 3), np.float32)
    guess_RJ2 = _first_guesses(maps, cells_R2)
    y_RJ, x_RJ, found_RJ = _peaks(maps.heatmaps_Jhw, guess_RJ2)
    joint_J = np.arange(NUM_JOINTS)
    peak_RJ3 = np.stack(
        [
            x_RJ + maps.offsets_2Jhw[2 * joint_J + 1, y_RJ, x_RJ],
            y_RJ + maps.offsets_2Jhw[2 * joint_J, y_RJ, x_RJ],
            maps.heatmaps_Jhw[joint_J, y_RJ, x_RJ],
        ],
        axis=2,
    ).astype(np.float32)
    guess_RJ3 = np.pad(guess_RJ2[..., ::-1], ((0, 0), (0, 0), (0, 1)))
    return np.where(found_RJ[..., None], peak_RJ3, guess_RJ3)


def _peaks(heatmaps_Jhw: FloatArray, guess_RJ2: Float32Array) -> tuple[IntArray, IntArray, BoolArray]:
    """Row and column of the best cell in reach of each guess, and whether there is one; [R, J] each."""
    height, width = heatmaps_Jhw.shape[1:]
    reach_R = np.clip(_REACH_SHARE * np.ptp(guess_RJ2, axis=1).max(axis=1), _LEAST_REACH, _MOST_REACH)
    side = 2 * math.ceil(reach_R.max()) + 1
    rows, columns = min(side, height), min(side, width)
    top_RJ = _window_starts(guess_RJ2[..., 0], length=rows, limit=height)
    left_RJ = _window_starts(guess_RJ2[..., 1], length=columns, limit=width)
    corner_RJ2 = np.stack([top_RJ, left_RJ], axis=2).astype(np.float32) - guess_RJ2
    away_y_RJK = corner_RJ2[..., :1] + np.arange(rows, dtype=np.float32)
    away_x_RJL = corner_RJ2[..., 1:] + np.arange(columns, dtype=np.float32)
    distance_RJKL = np.sqrt(np.square(away_y_RJK)[..., None] + np.square(away_x_RJL)[..., None, :])
    windows = sliding_window_view(heatmaps_Jhw, (rows, columns), axis=(1, 2))
    rated_RJKL = windows[np.arange(NUM_JOINTS), top_RJ, left_RJ] / (distance_RJKL + _DISTANCE_FLOOR)
    rated_RJKL[distance_RJKL > reach_R[:, None, None, None]] = 0
    rated_RJn = rated_RJKL.reshape(*rated_RJKL.shape[:2], -1)
    row_RJ, column_RJ = np.divmod(rated_RJn.argmax(axis=2), columns)
    return top_RJ + row_RJ, left_RJ + column_RJ, rated_RJn.max(axis=2) > 0


def _first_guesses(maps: JointMaps, cells_R2: IntArray) -> Float32Array:
    """Row and column of each joint as the regression at the person's center has it, [R, J, 2]."""
    relative_R2J = maps.regression_2Jhw[:, cells_R2[:, 0], cells_R2[:, 1]].T.astype(np.float32)
    guess_RJ2: Float32Array = relative_R2J.reshape(-1, NUM_JOINTS, 2) + cells_R2[:, None].astype(np.float32)
    return guess_RJ2


def _window_starts(guess_RJ: Float32Array, *, length: int, limit: int) -> IntArray:
    """First row or column of the windows around guesses, moved to lie inside the maps."""
    middle_RJ = np.rint(np.clip(guess_RJ, 0, limit - 1)).astype(np.int64)
    starts_RJ: IntArray = np.clip(middle_RJ - length // 2, 0, limit - length)
    return starts_RJ
