"""Optimal one-to-one matching of tracks and detections under a gate, and the distances it minimises.

Shape suffixes: T tracks, D detections, E embedding width.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core.boxes import iou_matrix

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Association:
    """A matching, as indices of rows and columns of the cost matrix."""

    pairs: tuple[tuple[int, int], ...]
    """(row, column), by row."""
    free_rows: tuple[int, ...]
    free_columns: tuple[int, ...]


def associate(cost_TD: FloatArray, *, gate: float) -> Association:
    """Match tracks with detections at the least total cost.

    Pairs that cost more than `gate` stay unmatched, and leaving a track unmatched costs `gate`: of all
    matchings the one with the largest sum of (gate - cost) is returned.

    Args:
        cost_TD: Cost of each pair, [T, D]; infinity forbids a pair. Either side may be empty.
        gate: Highest acceptable cost of a pair.

    Raises:
        ValueError: The matrix holds NaN.
    """
    if np.isnan(cost_TD).any():
        raise ValueError("cost_TD holds NaN")
    rows, columns = linear_sum_assignment(np.minimum(cost_TD, gate))
    found = zip(rows.tolist(), columns.tolist(), strict=True)
    pairs = tuple((row, column) for row, column in found if cost_TD[row, column] <= gate)
    taken_rows, taken_columns = {row for row, _ in pairs}, {column for _, column in pairs}
    return Association(
        pairs,
        tuple(row for row in range(cost_TD.shape[0]) if row not in taken_rows),
        tuple(column for column in range(cost_TD.shape[1]) if column not in taken_columns),
    )


def cosine_distance(a_TE: FloatArray, b_DE: FloatArray) -> FloatArray:
    """1 - cosine of each pair of unit vectors, [T, D], from 0 to 2."""
    return np.asarray(np.clip(1 - a_TE @ b_DE.T, 0, 2))


def buffered_iou(a_T4: FloatArray, b_D4: FloatArray, buffer_T: FloatArray) -> FloatArray:
    """IoU of each pair after both boxes grew by `buffer` x their mean side on each side, [T, D].

    The boxes of a fast person in two frames may not overlap; the grown boxes do. Both axes grow by the mean
    side, so a narrow standing person is matched as far sideways as up and down.

    Source: C-BIoU (Yang et al., WACV 2023).
    """
    grown_T4 = _grow(a_T4, buffer_T)
    rows = [iou_matrix(grown_T4[t : t + 1], _grow(b_D4, buffer_T[t])) for t in range(len(a_T4))]
    return np.concatenate([*rows, np.zeros((0, len(b_D4)))])


def _grow(boxes_N4: FloatArray, share: FloatArray) -> FloatArray:
    mean_side = (boxes_N4[:, 2:] - boxes_N4[:, :2]).mean(axis=1)
    return np.asarray(boxes_N4 + (share * mean_side)[:, None] * np.array([-1, -1, 1, 1]))
