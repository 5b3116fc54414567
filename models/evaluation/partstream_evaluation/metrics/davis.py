"""J and F of DAVIS: how well a mask's region and its outline agree with the truth.

Shape suffixes: T frames, H height, W width.
Source: Perazzi et al., CVPR 2016, and the rules of the DAVIS 2017 challenge.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]

_TOLERANCE = 0.008
_NUM_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """A per-frame score over a sequence."""

    mean: float
    recall: float
    """Share of frames above one half."""
    decay: float
    """Mean of the first quarter less that of the last."""


def region_iou(truth_HW: BoolArray, predicted_HW: BoolArray) -> float:
    """J of one frame; 1 where both masks are empty."""
    union = np.count_nonzero(truth_HW | predicted_HW)
    return np.count_nonzero(truth_HW & predicted_HW) / union if union else 1.0


def boundary_f(truth_HW: BoolArray, predicted_HW: BoolArray, *, tolerance: float = _TOLERANCE) -> float:
    """F of one frame: precision and recall of the outline, within a tolerance; 1 where both are empty.

    Args:
        truth_HW: The true mask.
        predicted_HW: The mask to judge.
        tolerance: As a share of the frame's diagonal, rounded up to whole pixels.
    """
    reach = math.ceil(tolerance * math.hypot(*truth_HW.shape))
    truth, predicted = _outline(truth_HW), _outline(predicted_HW)
    if not truth.any() or not predicted.any():
        return float(truth.any() == predicted.any())
    precision = _share_near(predicted, truth, reach)
    recall = _share_near(truth, predicted, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def sequence_score(scores_T: Sequence[float]) -> SequenceScore:
    """Mean, recall and decay of a sequence's scores.

    In the semi-supervised protocol the first and the last frame are left out: the caller does so.

    Raises:
        ValueError: There is no frame.
    """
    if not len(scores_T):
        raise ValueError("a sequence needs at least one frame")
    values = np.asarray(scores_T, np.float64)
    edges = np.rint(np.linspace(1, len(values), _NUM_QUARTERS + 1) + 1e-10).astype(np.int64) - 1
    quarters = [values[low : high + 1] for low, high in pairwise(edges)]
    return SequenceScore(
        float(values.mean()), float((values > 0.5).mean()), float(quarters[0].mean() - quarters[-1].mean())
    )


def _outline(mask_HW: BoolArray) -> BoolArray:
    """Pixels that differ from their right, lower or lower right neighbour, inside the frame."""
    padded = np.pad(mask_HW, ((0, 1), (0, 1)), mode="edge")
    here, right, below = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1]
    return np.asarray((here != right) | (here != below) | (here != padded[1:, 1:]))


def _share_near(outline_HW: BoolArray, other_HW: BoolArray, reach: int) -> float:
    """Share of an outline's pixels that lie within `reach` pixels of the other."""
    distance: FloatArray = ndimage.distance_transform_edt(~other_HW)
    return float((distance[outline_HW] <= reach).mean())
