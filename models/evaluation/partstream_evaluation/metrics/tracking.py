"""Metrics of people followed through a video as masks: sMOTSA, MOTSA, MOTSP, IDF1.

Truth and tracker are compared by the IoU of masks, frame by frame; a `Sequence` of frames may hold frames in
which there is nobody. HOTA is in `hota.py`.

Shape suffixes: T truth objects of a frame, P predicted ones; I identities of the truth, J of the tracker.
Source: MOTS (Voigtlaender et al., CVPR 2019); IDF1 (Ristani et al., ECCV Workshops 2016).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core.rle import Rle, decode, iou_matrix
from partstream_core.tracker.match import associate

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

_MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """The objects of one frame: an identity and a mask each."""

    identities: tuple[int, ...]
    masks: tuple[Rle, ...]
    ignored: Rle | None = None
    """In truth only: a region in which nothing is asked."""

    def __post_init__(self) -> None:
        if len(self.identities) != len(self.masks):
            raise ValueError(f"got {len(self.identities)} identities and {len(self.masks)} masks")
        if len(set(self.identities)) != len(self.identities):
            raise ValueError(f"an identity is twice in one frame: {self.identities}")


@dataclass(frozen=True, slots=True, eq=False)
class FrameOverlaps:
    """One frame of a video, ready to be compared; identities are numbered from 0 over the whole video."""

    truth_T: IntArray
    predicted_P: IntArray
    iou_TP: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class VideoOverlaps:
    """All frames of a video, ready to be compared."""

    frames: tuple[FrameOverlaps, ...]
    num_truth: int
    """Identities in the truth."""
    num_predicted: int
    """Identities of the tracker."""


@dataclass(frozen=True, slots=True)
class MotsScores:
    """The MOTS metrics of a video; NaN where there is nothing to divide by."""

    smotsa: float
    motsa: float
    motsp: float
    num_true_positives: int
    num_false_positives: int
    num_false_negatives: int
    num_switches: int


@dataclass(frozen=True, slots=True)
class IdentityScores:
    """Identification precision, recall and their F1 over a video."""

    idf1: float
    precision: float
    recall: float


def overlaps(truth: Sequence[TrackedFrame], predicted: Sequence[TrackedFrame]) -> VideoOverlaps:
    """The IoU of every pair of every frame.

    Predictions that match nobody and lie mostly in the region to ignore are left out.

    Raises:
        ValueError: The videos differ in length, or masks in size.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"truth has {len(truth)} frames, the tracker {len(predicted)}")
    predicted = [_without_ignored(true, found) for true, found in zip(truth, predicted, strict=True)]
    truth_numbers, predicted_numbers = _number(truth), _number(predicted)
    frames = tuple(
        FrameOverlaps(
            np.array([truth_numbers[identity] for identity in true.identities], np.int64),
            np.array([predicted_numbers[identity] for identity in found.identities], np.int64),
            iou_matrix(true.masks, found.masks),
        )
        for true, found in zip(truth, predicted, strict=True)
    )
    return VideoOverlaps(frames, len(truth_numbers), len(predicted_numbers))


def mots_scores(video: VideoOverlaps) -> MotsScores:
    """sMOTSA, MOTSA and MOTSP at IoU above one half.

    A switch is a true object that is matched with another identity than when it was last matched.
    """
    last_match = np.full(video.num_truth, -1, np.int64)
    total_iou = 0.0
    num_truth = num_predicted = num_matched = num_switches = 0
    for frame in video.frames:
        cost = np.where(frame.iou_TP > _MATCH_IOU, 1 - frame.iou_TP, np.inf)
        for row, column in associate(cost, gate=1.0).pairs:
            true, found = frame.truth_T[row], frame.predicted_P[column]
            num_switches += int(last_match[true] not in (-1, found))
            last_match[true] = found
            total_iou += float(frame.iou_TP[row, column])
            num_matched += 1
        num_truth += len(frame.truth_T)
        num_predicted += len(frame.predicted_P)
    num_extra = num_predicted - num_matched
    return MotsScores(
        smotsa=_ratio(total_iou - num_extra - num_switches, num_truth),
        motsa=_ratio(num_matched - num_extra - num_switches, num_truth),
        motsp=_ratio(total_iou, num_matched),
        num_true_positives=num_matched,
        num_false_positives=num_extra,
        num_false_negatives=num_truth - num_matched,
        num_switches=num_switches,
    )


def identity_scores(video: VideoOverlaps) -> IdentityScores:
    """IDF1 of the one-to-one matching of identities that explains most frames, at IoU of one half."""
    together_IJ = np.zeros((video.num_truth, video.num_predicted), np.int64)
    for frame in video.frames:
        rows, columns = np.nonzero(frame.iou_TP >= _MATCH_IOU)
        np.add.at(together_IJ, (frame.truth_T[rows], frame.predicted_P[columns]), 1)
    rows, columns = linear_sum_assignment(together_IJ, maximize=True)
    num_right = int(together_IJ[rows, columns].sum())
    num_truth = sum(len(frame.truth_T) for frame in video.frames)
    num_predicted = sum(len(frame.predicted_P) for frame in video.frames)
    return IdentityScores(
        idf1=_ratio(2 * num_right, num_truth + num_predicted),
        precision=_ratio(num_right, num_predicted),
        recall=_ratio(num_right, num_truth),
    )


def _without_ignored(truth: TrackedFrame, predicted: TrackedFrame) -> TrackedFrame:
    """The predictions that count; as in KITTI MOTS, who matches somebody does so wherever they are."""
    if truth.ignored is None or not predicted.masks:
        return predicted
    region_HW = decode(truth.ignored)
    iou = iou_matrix(truth.masks, predicted.masks)
    rows, columns = linear_sum_assignment(np.where(iou >= _MATCH_IOU, iou, 0), maximize=True)
    matched = {
        int(column) for row, column in zip(rows, columns, strict=True) if iou[row, column] >= _MATCH_IOU
    }
    kept = [
        at for at, mask in enumerate(predicted.masks) if at in matched or _share_in(region_HW, mask) <= 0.5
    ]
    return TrackedFrame(
        tuple(predicted.identities[at] for at in kept), tuple(predicted.masks[at] for at in kept)
    )


def _share_in(region_HW: npt.NDArray[np.bool_], mask: Rle) -> float:
    mask_HW = decode(mask)
    if mask_HW.shape != region_HW.shape:
        raise ValueError(f"a mask is {mask_HW.shape}, the region to ignore {region_HW.shape}")
    return float(region_HW[mask_HW].mean()) if mask_HW.any() else 0.0


def _number(frames: Sequence[TrackedFrame]) -> dict[int, int]:
    """Numbers from 0 for the identities of a video."""
    identities = sorted({identity for frame in frames for identity in frame.identities})
    return {identity: number for number, identity in enumerate(identities)}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
