"""How good results are on the benchmark: AP of people and parts frame by frame, and identities over clips.

Shape suffixes: H height, W width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, PersonResult
from partstream_core.rle import Rle, decode, encode_label_map, iou_matrix
from partstream_evaluation.composite.recipe import Recipe
from partstream_evaluation.composite.truth import ClipTruth, small_people
from partstream_evaluation.metrics.average_precision import (
    PART_THRESHOLDS,
    Matching,
    PictureOverlaps,
    average_precision,
    mean_average_precision,
)
from partstream_evaluation.metrics.hota import hota_scores
from partstream_evaluation.metrics.tracking import (
    FrameOverlaps,
    TrackedFrame,
    VideoOverlaps,
    identity_scores,
    mots_scores,
    overlaps,
)

_PERSON_IOU: Final = 0.5
_IN_IGNORED: Final = 0.5
"""Whoever lies in an ignored region by more than this share of the mask is neither right nor wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTruth:
    """One frame's people and parts, and where nothing is asked."""

    people: dict[int, Rle]
    """By identity."""
    parts: dict[int, tuple[Rle, ...]]
    """By part, of all people."""
    ignored_HW: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, eq=False)
class ClipOverlaps:
    """A clip's results beside its truth."""

    people: list[PictureOverlaps]
    parts: dict[int, list[PictureOverlaps]]
    tracks: VideoOverlaps


@dataclass(frozen=True, slots=True)
class CompositeScores:
    """Figures of a set of clips; NaN where there is nothing to divide by."""

    ap_r_50: float
    """AP of people at IoU .5, one prediction for a person."""
    ap_r_50_compat: float
    """The same as the papers' scripts count it."""
    ap_r_vol: float
    """Mean AP of parts over IoU .1 to .9 and over the parts that appear."""
    ap_r_vol_compat: float
    smotsa: float
    motsa: float
    motsp: float
    idf1: float
    hota: float
    num_switches: int
    num_clips: int
    per_part: dict[str, float]
    """What `ap_r_vol` is the mean of."""


def truth_frames(truth: ClipTruth, recipe: Recipe) -> list[FrameTruth]:
    """The frames of a clip as masks."""
    return [
        _frame_truth(parts_HW, instances_HW, recipe)
        for parts_HW, instances_HW in zip(truth.parts_THW, truth.instances_THW, strict=True)
    ]


def _frame_truth(
    parts_HW: npt.NDArray[np.uint8], instances_HW: npt.NDArray[np.uint8], recipe: Recipe
) -> FrameTruth:
    small = list(small_people(instances_HW, recipe))
    ignored = np.isin(instances_HW, small) if small else None
    counted = instances_HW if ignored is None else np.where(ignored, 0, instances_HW)
    identities = np.unique(counted[counted > 0]).tolist()
    both_HW = np.where(counted > 0, counted.astype(np.int64) * len(PARTS) + parts_HW, 0)
    codes = [identity * len(PARTS) + part for identity in identities for part in range(1, len(PARTS))]
    parts: dict[int, list[Rle]] = {}
    for code, mask in encode_label_map(both_HW, codes).items():
        parts.setdefault(code % len(PARTS), []).append(mask)
    return FrameTruth(
        encode_label_map(counted, identities), {part: tuple(masks) for part, masks in parts.items()}, ignored
    )


def clip_overlaps(
    truth: Sequence[FrameTruth], found: Sequence[FrameResult], tracked: Sequence[FrameResult]
) -> ClipOverlaps:
    """Compare a clip's results with its truth.

    Args:
        truth: Frame by frame.
        found: Results with nearly no threshold, for AP.
        tracked: Results as users get them, for identities.

    Raises:
        ValueError: The numbers of frames differ, or a mask is missing, is not RLE or has another size.
    """
    if not len(truth) == len(found) == len(tracked):
        raise ValueError(f"the truth has {len(truth)} frames, the results {len(found)} and {len(tracked)}")
    people: list[PictureOverlaps] = []
    parts: dict[int, list[PictureOverlaps]] = {part: [] for part in range(1, len(PARTS))}
    for true, frame in zip(truth, found, strict=True):
        kept = [person for person in frame.people if not _is_ignored(_mask(person.mask), true)]
        masks = [_mask(person.mask) for person in kept]
        scores = np.array([person.score for person in kept], np.float64)
        people.append(PictureOverlaps(scores, iou_matrix(masks, list(true.people.values()))))
        for part, pictures in parts.items():
            pictures.append(_part_overlaps(part, kept, true))
    video = overlaps(
        [TrackedFrame(tuple(true.people), tuple(true.people.values())) for true in truth],
        [_tracked(frame, true) for frame, true in zip(tracked, truth, strict=True)],
    )
    return ClipOverlaps(people, parts, video)


def _mask(mask: object) -> Rle:
    if not isinstance(mask, Rle):
        raise ValueError(f"results must hold masks as RLE, got {type(mask).__name__}")
    return mask


def _is_ignored(mask: Rle, truth: FrameTruth) -> bool:
    if truth.ignored_HW is None:
        return False
    mask_HW = decode(mask)
    if mask_HW.shape != truth.ignored_HW.shape:
        raise ValueError(f"a mask is {mask_HW.shape}, the frame {truth.ignored_HW.shape}")
    return bool(truth.ignored_HW[mask_HW].mean() > _IN_IGNORED) if mask_HW.any() else False


def _part_overlaps(part: int, people: Iterable[PersonResult], truth: FrameTruth) -> PictureOverlaps:
    found = [each for person in people for each in person.parts if each.part == PARTS[part]]
    scores = np.array([each.score for each in found], np.float64)
    true = truth.parts.get(part, ())
    return PictureOverlaps(scores, iou_matrix([_mask(each.mask) for each in found], true))


def _tracked(frame: FrameResult, truth: FrameTruth) -> TrackedFrame:
    kept = [(each.identity, _mask(each.mask)) for each in frame.people]
    kept = [(identity, mask) for identity, mask in kept if not _is_ignored(mask, truth)]
    return TrackedFrame(tuple(identity for identity, _ in kept), tuple(mask for _, mask in kept))


def score(clips: Sequence[ClipOverlaps]) -> CompositeScores:
    """The figures of clips together: AP over all their frames, identities as if the clips were one video."""
    people = [picture for clip in clips for picture in clip.people]
    parts = {part: [each for clip in clips for each in clip.parts[part]] for part in range(1, len(PARTS))}
    present = [part for part, pictures in parts.items() if any(each.iou_MN.shape[1] for each in pictures)]
    volumes = {
        matching: {
            PARTS[part]: mean_average_precision(parts[part], thresholds=PART_THRESHOLDS, matching=matching)
            for part in present
        }
        for matching in Matching
    }
    video = joined([clip.tracks for clip in clips])
    mots = mots_scores(video)
    return CompositeScores(
        ap_r_50=average_precision(people, threshold=_PERSON_IOU),
        ap_r_50_compat=average_precision(people, threshold=_PERSON_IOU, matching=Matching.COMPAT),
        ap_r_vol=_mean(volumes[Matching.STRICT].values()),
        ap_r_vol_compat=_mean(volumes[Matching.COMPAT].values()),
        smotsa=mots.smotsa,
        motsa=mots.motsa,
        motsp=mots.motsp,
        idf1=identity_scores(video).idf1,
        hota=hota_scores(video).hota,
        num_switches=mots.num_switches,
        num_clips=len(clips),
        per_part=volumes[Matching.STRICT],
    )


def joined(videos: Sequence[VideoOverlaps]) -> VideoOverlaps:
    """Videos one after another, nobody being in two of them."""
    frames: list[FrameOverlaps] = []
    num_truth = num_predicted = 0
    for video in videos:
        frames += [
            FrameOverlaps(each.truth_T + num_truth, each.predicted_P + num_predicted, each.iou_TP)
            for each in video.frames
        ]
        num_truth += video.num_truth
        num_predicted += video.num_predicted
    return VideoOverlaps(tuple(frames), num_truth, num_predicted)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else float("nan")
