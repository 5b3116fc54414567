"""AP of people or parts as masks: AP^r at one IoU, and its mean over many.

Shape suffixes: N truth masks of one picture, M predicted ones.
Source: Hariharan et al., ECCV 2014 (AP^r, AP^r_vol); VOC's all-point AP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

PERSON_THRESHOLDS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""AP^r of people is the mean over these."""
PART_THRESHOLDS: Final = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""AP^r_vol of parts is the mean over these, and over classes."""


class Matching(StrEnum):
    """Who may claim a true mask."""

    COMPAT = "compat"
    """Every prediction that overlaps it enough, as in the papers' scripts: two may be right about one."""
    STRICT = "strict"
    """The best-scored prediction that overlaps it enough; the others are wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureOverlaps:
    """One picture: the predictions' scores [M] and their IoU with each true mask [M, N]."""

    scores_M: FloatArray
    iou_MN: FloatArray

    def __post_init__(self) -> None:
        if self.iou_MN.ndim != 2 or self.scores_M.shape != self.iou_MN.shape[:1]:
            raise ValueError(f"got scores {self.scores_M.shape} and overlaps {self.iou_MN.shape}")


def average_precision(
    pictures: Sequence[PictureOverlaps], *, threshold: float, matching: Matching = Matching.STRICT
) -> float:
    """All-point AP at IoU strictly above the threshold; NaN if there is no true mask.

    A prediction speaks for the true mask that it overlaps most. Equal scores keep the order of the pictures.
    """
    num_truth = sum(picture.iou_MN.shape[1] for picture in pictures)
    if not num_truth:
        return float("nan")
    scores = np.concatenate([picture.scores_M for picture in pictures])
    right = np.concatenate([_right(picture, threshold, matching) for picture in pictures])
    right = right[np.argsort(-scores, kind="stable")]
    num_right = np.cumsum(right)
    recall = np.concatenate([[0.0], np.minimum(num_right / num_truth, 1.0)])
    precision = num_right / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * best_from_here).sum())


def mean_average_precision(
    pictures: Sequence[PictureOverlaps], *, thresholds: Sequence[float], matching: Matching = Matching.STRICT
) -> float:
    """Mean of the AP over thresholds."""
    values = [average_precision(pictures, threshold=value, matching=matching) for value in thresholds]
    return float(np.mean(values))


def _right(picture: PictureOverlaps, threshold: float, matching: Matching) -> BoolArray:
    """Which predictions of a picture are right, [M], in their own order."""
    num_predicted, num_truth = picture.iou_MN.shape
    if not num_truth:
        return np.zeros(num_predicted, bool)
    best = picture.iou_MN.argmax(axis=1)
    right: BoolArray = picture.iou_MN.max(axis=1) > threshold
    if matching is Matching.STRICT:
        claimed: set[int] = set()
        for row in np.argsort(-picture.scores_M, kind="stable").tolist():
            if right[row] and int(best[row]) in claimed:
                right[row] = False
            elif right[row]:
                claimed.add(int(best[row]))
    return right
