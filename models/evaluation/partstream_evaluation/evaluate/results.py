"""`partstream-evaluate results`: results in a file against truth in another.

What is measured follows from what the truth holds: people always, parts and identities where it has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partstream_core.labels import PARTS, VOID
from partstream_core.results import PersonResult
from partstream_core.rle import Rle, decode, iou_matrix
from partstream_evaluation.composite.score import joined
from partstream_evaluation.evaluate.runner import EvaluationError
from partstream_evaluation.metrics.average_precision import (
    PART_THRESHOLDS,
    PERSON_THRESHOLDS,
    Matching,
    PictureOverlaps,
    average_precision,
    mean_average_precision,
)
from partstream_evaluation.metrics.davis import boundary_f, region_iou, sequence_score
from partstream_evaluation.metrics.hota import hota_scores
from partstream_evaluation.metrics.parsing import ap_p, ap_p_vol, pcp, picture_people
from partstream_evaluation.metrics.semantic import class_ious, confusion_matrix, mean_iou, person_iou
from partstream_evaluation.metrics.tracking import TrackedFrame, identity_scores, mots_scores, overlaps
from partstream_evaluation.readers.model import FrameKey, FrameObjects, LabelMap, ResultSet, mask_of

Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class FramePair:
    """A frame's truth and what was found in it."""

    key: FrameKey
    truth: FrameObjects
    found: FrameObjects


def pair_frames(truth: ResultSet, found: ResultSet) -> list[FramePair]:
    """Every frame of the truth with what was found in it; nobody where the results do not name the frame.

    Where both hold one clip, it is the same, whatever its name.

    Raises:
        EvaluationError: The truth holds nobody, results are for frames it lacks, or masks differ in size.
    """
    if not any(frame.people for frame in truth.frames.values()):
        source = next(iter(truth.frames.values())).source if truth.frames else "the truth"
        raise EvaluationError(f"{source}: the truth holds nobody in {len(truth.frames)} frames")
    clips = {key.clip for key in truth.frames}, {key.clip for key in found.frames}
    frames = found.frames
    if len(clips[0]) == len(clips[1]) == 1:
        (name,) = clips[0]
        frames = {FrameKey(name, key.frame): frame for key, frame in frames.items()}
    unknown = [key for key in frames if key not in truth.frames]
    if unknown:
        source = frames[unknown[0]].source
        raise EvaluationError(f"{source} holds {unknown[0]}, which is not in the truth ({len(unknown)} such)")
    pairs = []
    for key, true in truth.frames.items():
        each = frames.get(key, FrameObjects(true.source, true.size, ()))
        if each.size is not None and true.size is not None and each.size != true.size:
            raise EvaluationError(f"{each.source}: {key} is {each.size}, but {true.size} in {true.source}")
        pairs.append(FramePair(key, true, each))
    return pairs


def measure(truth: ResultSet, found: ResultSet) -> Figures:
    """All figures that the truth allows; None where one does not exist.

    Raises:
        EvaluationError: Truth and results do not fit together.
    """
    pairs = pair_frames(truth, found)
    figures: dict[str, float] = {"num_frames": len(pairs)}
    try:
        figures |= _people(pairs)
        if truth.has_parts and found.has_parts:
            figures |= _parts(pairs) | _semantic(pairs)
        if truth.has_identities and found.has_identities:
            figures |= _tracks(pairs)
    except ValueError as error:
        raise EvaluationError(f"cannot compare {pairs[0].found.source} and others: {error}") from error
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _counting(pair: FramePair) -> list[PersonResult]:
    """People found who do not lie mostly where nothing is asked."""
    if pair.truth.ignored is None:
        return list(pair.found.people)
    region_HW = decode(pair.truth.ignored)
    masks = [decode(mask_of(each, pair.found.source)) for each in pair.found.people]
    inside = [mask.any() and region_HW[mask].mean() > 0.5 for mask in masks]
    return [each for each, is_in in zip(pair.found.people, inside, strict=True) if not is_in]


def _masks(people: Sequence[PersonResult], where: Path) -> list[Rle]:
    return [mask_of(each, where) for each in people]


def _people(pairs: Sequence[FramePair]) -> dict[str, float]:
    pictures = []
    for pair in pairs:
        found = _counting(pair)
        iou = iou_matrix(_masks(found, pair.found.source), _masks(pair.truth.people, pair.truth.source))
        pictures.append(PictureOverlaps(np.array([each.score for each in found], np.float64), iou))
    figures = {}
    for matching, suffix in ((Matching.STRICT, ""), (Matching.COMPAT, "_compat")):
        figures[f"ap_r_50{suffix}"] = average_precision(pictures, threshold=0.5, matching=matching)
        figures[f"ap_r{suffix}"] = mean_average_precision(
            pictures, thresholds=PERSON_THRESHOLDS, matching=matching
        )
    return figures


def _parts(pairs: Sequence[FramePair]) -> dict[str, float]:
    by_part: dict[str, list[PictureOverlaps]] = {name: [] for name in PARTS[1:]}
    people = []
    for pair in pairs:
        found = _counting(pair)
        for name, pictures in by_part.items():
            mine = [part for each in found for part in each.parts if part.part == name]
            true = [part for each in pair.truth.people for part in each.parts if part.part == name]
            masks = [mask_of(part, pair.found.source) for part in mine]
            iou = iou_matrix(masks, [mask_of(part, pair.truth.source) for part in true])
            pictures.append(PictureOverlaps(np.array([part.score for part in mine], np.float64), iou))
        people.append(
            picture_people(
                [_named(each, pair.truth.source) for each in pair.truth.people],
                [_named(each, pair.found.source) for each in found],
                [each.score for each in found],
            )
        )
    present = [each for each in by_part.values() if any(picture.iou_MN.shape[1] for picture in each)]
    figures = {"ap_p_50": ap_p(people), "ap_p_vol": ap_p_vol(people), "pcp_50": pcp(people)}
    for matching, suffix in ((Matching.STRICT, ""), (Matching.COMPAT, "_compat")):
        values = [
            mean_average_precision(each, thresholds=PART_THRESHOLDS, matching=matching) for each in present
        ]
        figures[f"ap_r_vol{suffix}"] = float(np.mean(values)) if values else float("nan")
    return figures


def _named(each: PersonResult, where: Path) -> dict[str, Rle]:
    return {part.part: mask_of(part, where) for part in each.parts}


def _semantic(pairs: Sequence[FramePair]) -> dict[str, float]:
    total = np.zeros((len(PARTS), len(PARTS)), np.int64)
    for pair in pairs:
        size = pair.truth.size or pair.found.size
        if size is not None:
            truth_HW, found_HW = _part_map(pair.truth, size), _part_map(pair.found, size)
            if pair.truth.ignored is not None:
                truth_HW[decode(pair.truth.ignored)] = VOID
            total += confusion_matrix(truth_HW.astype(np.uint8), found_HW.astype(np.uint8))
    ious = {f"iou_{name}": value for name, value in zip(PARTS, class_ious(total).tolist(), strict=True)}
    return {"miou": mean_iou(total), "person_iou": person_iou(total), **ious}


def _part_map(frame: FrameObjects, size: tuple[int, int]) -> LabelMap:
    labels_HW = np.zeros(size, np.int64)
    for each in frame.people:
        for part in each.parts:
            if part.part not in PARTS:
                raise EvaluationError(f"{frame.source}: there is no part {part.part!r}")
            labels_HW[decode(mask_of(part, frame.source))] = PARTS.index(part.part)
    return labels_HW


def _clips(pairs: Sequence[FramePair]) -> dict[str, list[FramePair]]:
    clips: dict[str, list[FramePair]] = {}
    for pair in pairs:
        clips.setdefault(pair.key.clip, []).append(pair)
    for frames in clips.values():
        frames.sort(key=lambda pair: (int(pair.key.frame) if pair.key.frame.isdigit() else 0, pair.key))
    return clips


def _tracks(pairs: Sequence[FramePair]) -> dict[str, float]:
    videos = [
        overlaps(
            [_tracked(each.truth, each.truth.ignored) for each in clip],
            [_tracked(each.found) for each in clip],
        )
        for clip in _clips(pairs).values()
    ]
    video = joined(videos)
    mots, identity, hota = mots_scores(video), identity_scores(video), hota_scores(video)
    return {
        "smotsa": mots.smotsa,
        "motsa": mots.motsa,
        "motsp": mots.motsp,
        "num_switches": mots.num_switches,
        "idf1": identity.idf1,
        "hota": hota.hota,
        "det_a": hota.detection,
        "ass_a": hota.association,
    }


def _tracked(frame: FrameObjects, ignored: Rle | None = None) -> TrackedFrame:
    try:
        identities = tuple(each.identity for each in frame.people)
        return TrackedFrame(identities, tuple(_masks(frame.people, frame.source)), ignored)
    except ValueError as error:
        raise EvaluationError(f"{frame.source}: {error}") from error


def measure_davis(truth: ResultSet, found: ResultSet) -> Figures:
    """J and F of people who have the same identity in truth and results, without first and last frames.

    Raises:
        EvaluationError: Truth and results do not fit together.
    """
    scores: dict[str, list[float]] = {}
    for clip in _clips(pair_frames(truth, found)).values():
        identities = sorted({each.identity for pair in clip for each in pair.truth.people})
        for identity in identities:
            masks = [
                (_mask_of(pair.truth, identity, pair), _mask_of(pair.found, identity, pair)) for pair in clip
            ]
            inner = masks[1:-1] or masks
            for name, metric in (("j", region_iou), ("f", boundary_f)):
                each = sequence_score([metric(true, mine) for true, mine in inner])
                for kind, value in (("mean", each.mean), ("recall", each.recall), ("decay", each.decay)):
                    scores.setdefault(f"{name}_{kind}", []).append(value)
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _mask_of(
    frame: FrameObjects, identity: int, pair: FramePair
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    size = pair.truth.size or pair.found.size or (1, 1)
    mask_HW = np.zeros(size, bool)
    for each in frame.people:
        if each.identity == identity:
            mask_HW |= decode(mask_of(each, frame.source))
    if pair.truth.ignored is not None:
        mask_HW &= ~decode(pair.truth.ignored)
    return mask_HW
