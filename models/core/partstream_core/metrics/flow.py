"""End-point error of optical flow, and the .flo files that flow is kept in.

Shape suffixes: H height, W width; the last axis holds x and y, in pixels.
Source: Baker et al., IJCV 2011 (Middlebury), which also defines the file.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

_MAGIC: Final = np.float32(202021.25)
_UNKNOWN: Final = 1e9
"""Middlebury marks flow that nobody knows with values above this."""
_MAX_SIDE: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class FlowScores:
    """Errors of one flow field; NaN where no pixel counts."""

    epe: float
    """Mean length of the difference, in pixels."""
    outliers: float
    """Share of pixels that are off by more than 3 pixels and 5 % of the true length (KITTI's Fl)."""
    num_pixels: int


def flow_scores(
    truth_HW2: FloatArray, predicted_HW2: FloatArray, valid_HW: BoolArray | None = None
) -> FlowScores:
    """End-point error over the pixels that count: those known in the truth and marked valid.

    Raises:
        ValueError: Sizes differ, or a predicted vector that counts is not finite.
    """
    if truth_HW2.ndim != 3 or truth_HW2.shape[2] != 2 or truth_HW2.shape != predicted_HW2.shape:
        raise ValueError(f"flows must both be [H, W, 2], got {truth_HW2.shape} and {predicted_HW2.shape}")
    if valid_HW is not None and valid_HW.shape != truth_HW2.shape[:2]:
        raise ValueError(f"the valid pixels are {valid_HW.shape}, the flow {truth_HW2.shape[:2]}")
    counts = np.isfinite(truth_HW2).all(axis=2) & (np.abs(truth_HW2) < _UNKNOWN).all(axis=2)
    if valid_HW is not None:
        counts &= valid_HW
    true, found = truth_HW2[counts].astype(np.float64), predicted_HW2[counts].astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError("the predicted flow holds NaN or infinity")
    if not len(true):
        return FlowScores(math.nan, math.nan, 0)
    error = np.hypot(*(found - true).T)
    is_outlier = (error > 3) & (error > 0.05 * np.hypot(*true.T))
    return FlowScores(float(error.mean()), float(is_outlier.mean()), len(true))


def read_flo(path: Path) -> npt.NDArray[np.float32]:
    """The flow of a .flo file, float32 [H, W, 2].

    Raises: ValueError: It is no .flo file, or is cut short; the message names it. OSError: It cannot be read.
    """
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != _MAGIC:
        raise ValueError(f"{path} is not a .flo file")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", 2, offset=4))
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise ValueError(f"{path} claims a flow of {height}x{width}")
    if len(content) != 12 + 8 * height * width:
        raise ValueError(
            f"{path} must have {12 + 8 * height * width} bytes for {height}x{width}, has {len(content)}"
        )
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def write_flo(path: Path, flow_HW2: FloatArray) -> None:
    """Write a flow as .flo."""
    height, width = flow_HW2.shape[:2]
    header = np.array([_MAGIC], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    path.write_bytes(header + np.ascontiguousarray(flow_HW2, "<f4").tobytes())
