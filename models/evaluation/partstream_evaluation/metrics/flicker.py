"""Flicker: how often labels change along the optical flow.

A pixel counts where something is known to stay what it was from one frame to the next; it flickers where its
predicted label changes all the same.

Shape suffixes: H height, W width; a last 2 is (x, y), in pixels.

Source: temporal consistency as video parsing measures it (warping along flow), with exact flow where there is
some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

IntMap = npt.NDArray[np.integer]
Scalar = TypeVar("Scalar", bound=np.generic)
BoolMap = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Changes:
    """Pixels that changed their label, of those that count."""

    changed: int = 0
    counted: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.changed + other.changed, self.counted + other.counted)

    @property
    def share(self) -> float:
        """Of the pixels that count, those that changed; NaN where none counts."""
        return self.changed / self.counted if self.counted else float("nan")


def carried(
    former_HW: npt.NDArray[Scalar], flow_HW2: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[Scalar], BoolMap]:
    """A former frame's labels where the pixels of this frame came from, and where that lies in the frame.

    Args:
        former_HW: Labels of the former frame.
        flow_HW2: From this frame to the former one.

    Raises:
        ValueError: The sizes differ.
    """
    height, width = former_HW.shape
    if flow_HW2.shape != (height, width, 2):
        raise ValueError(f"flow of {flow_HW2.shape} does not fit labels of {former_HW.shape}")
    x_HW = np.rint(flow_HW2[..., 0] + np.arange(width))
    y_HW = np.rint(flow_HW2[..., 1] + np.arange(height)[:, None])
    there_HW = (x_HW >= 0) & (x_HW < width) & (y_HW >= 0) & (y_HW < height)
    rows_HW = np.where(there_HW, y_HW, 0).astype(np.intp)
    columns_HW = np.where(there_HW, x_HW, 0).astype(np.intp)
    return former_HW[rows_HW, columns_HW], there_HW


def steady(truth_HW: IntMap, former_truth_HW: IntMap, flow_HW2: npt.NDArray[np.floating]) -> BoolMap:
    """Where something other than background (0) is what it was, by the truth."""
    came_HW, there_HW = carried(former_truth_HW, flow_HW2)
    same_HW: BoolMap = there_HW & (truth_HW == came_HW) & (truth_HW != 0)
    return same_HW


def changes(
    labels_HW: IntMap, former_HW: IntMap, flow_HW2: npt.NDArray[np.floating], counted_HW: BoolMap
) -> Changes:
    """How many of the pixels that count have another label than where they came from."""
    came_HW, there_HW = carried(former_HW, flow_HW2)
    counted_HW = counted_HW & there_HW
    return Changes(int(np.count_nonzero(counted_HW & (labels_HW != came_HW))), int(counted_HW.sum()))
