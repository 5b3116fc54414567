"""HOTA: detection and association in one figure.

Shape suffixes: A localisation thresholds; I identities of the truth, J of the tracker.
Source: Luiten et al., IJCV 2021.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_evaluation.metrics.tracking import FrameOverlaps, VideoOverlaps

FloatArray: TypeAlias = npt.NDArray[np.float64]

THRESHOLDS: Final = np.arange(1, 20) / 20
"""IoU from .05 to .95."""
_SLACK: Final = np.finfo(np.float64).eps


@dataclass(frozen=True, slots=True)
class HotaScores:
    """Means over the thresholds; NaN where there is nothing at all."""

    hota: float
    detection: float
    association: float


def hota_scores(video: VideoOverlaps) -> HotaScores:
    """HOTA, DetA and AssA of a video.

    In each frame objects are matched by IoU, weighted with how well their whole tracks agree.
    """
    true_I, found_J, agree_IJ = _track_agreement(video)
    num_truth, num_predicted = true_I.sum(), found_J.sum()
    if num_truth + num_predicted == 0:
        return HotaScores(float("nan"), float("nan"), float("nan"))
    matched_AIJ = np.zeros((len(THRESHOLDS), video.num_truth, video.num_predicted))
    for frame in video.frames:
        weight = agree_IJ[np.ix_(frame.truth_T, frame.predicted_P)]
        rows, columns = linear_sum_assignment(weight * frame.iou_TP, maximize=True)
        is_match = frame.iou_TP[rows, columns] >= THRESHOLDS[:, None] - _SLACK
        matched_AIJ[:, frame.truth_T[rows], frame.predicted_P[columns]] += is_match
    num_matched_A = matched_AIJ.sum(axis=(1, 2))
    detection_A = num_matched_A / (num_truth + num_predicted - num_matched_A)
    either = true_I[:, None] + found_J[None, :] - matched_AIJ
    association_A = (matched_AIJ**2 / np.maximum(either, 1)).sum(axis=(1, 2)) / np.maximum(num_matched_A, 1)
    return HotaScores(
        float(np.sqrt(detection_A * association_A).mean()),
        float(detection_A.mean()),
        float(association_A.mean()),
    )


def _track_agreement(video: VideoOverlaps) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Frames of each true and each found track, [I] and [J], and how well each two agree, [I, J]."""
    true_I, found_J = np.zeros(video.num_truth), np.zeros(video.num_predicted)
    shared_IJ = np.zeros((video.num_truth, video.num_predicted))
    for frame in video.frames:
        true_I[frame.truth_T] += 1
        found_J[frame.predicted_P] += 1
        shared_IJ[np.ix_(frame.truth_T, frame.predicted_P)] += _exclusive_overlap(frame)
    return true_I, found_J, shared_IJ / np.maximum(true_I[:, None] + found_J[None, :] - shared_IJ, _SLACK)


def _exclusive_overlap(frame: FrameOverlaps) -> FloatArray:
    """Each pair's IoU as a share of all the overlap that either of the two has, [T, P]."""
    iou = frame.iou_TP
    total = iou.sum(axis=0, keepdims=True) + iou.sum(axis=1, keepdims=True) - iou
    return np.asarray(np.divide(iou, total, out=np.zeros_like(iou), where=total > _SLACK))
