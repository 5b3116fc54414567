"""The passes of the match module, from the surest evidence to the weakest.

1. Looks and motion: cosine distance fused with the Mahalanobis distance, behind the motion gate. Where a side
   has no embedding, 1 - IoU with the predicted box stands in for the cosine distance.
2. Overlap: IoU with the predicted box.
3. Relaxed: IoU of grown boxes, old or predicted, averaged with the cosine distance: a fast or suddenly
   reshaped person (arms thrown out, a jump) leaves gate and box behind, and must not become somebody new.

A motion gate that stays narrow makes embeddings useless for a person who was hidden: the prediction ran on,
the person did not. So the gate widens with the time unseen, and after `recent_s` a track may be found again
anywhere in the frame, but then only by a strict likeness. Passes 2 and 3, which know position alone or lean
on it, leave such tracks out. A track unseen for longer than `max_lost_s`, and any track across a scene cut,
is found by a strict likeness alone: another person may stand on the same spot.

Shape suffixes: T tracks, D detections, E embedding width.
Source: HVISNet, section III-C; JDE (Wang et al., ECCV 2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import iou_matrix
from partstream_core.tracker import kalman
from partstream_core.tracker.config import FRAME_S, TrackerConfig
from partstream_core.tracker.match import Association, associate, buffered_iou, cosine_distance
from partstream_core.tracker.track import Detection, Track, stacked, unit

_ROUNDING = 1e-6
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Cost: TypeAlias = Callable[["Evidence"], FloatArray]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Distances of each pair of track and detection."""

    predicted_T4: FloatArray
    seen_T4: FloatArray
    detected_D4: FloatArray
    missed_T: FloatArray
    """Frames (of `FRAME_S`) that went by without a sight; 0 for a track seen one frame before."""
    motion_TD: FloatArray
    """Squared Mahalanobis distance."""
    looks_TD: FloatArray
    """Cosine distance, where both have an embedding."""
    has_looks_TD: BoolArray

    def part(self, rows: Sequence[int], columns: Sequence[int]) -> "Evidence":
        """The evidence on some of the tracks and detections."""
        if (len(rows), len(columns)) == self.motion_TD.shape:
            return self
        row, column = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        pairs = np.ix_(row, column)
        return Evidence(
            self.predicted_T4[row],
            self.seen_T4[row],
            self.detected_D4[column],
            self.missed_T[row],
            self.motion_TD[pairs],
            self.looks_TD[pairs],
            self.has_looks_TD[pairs],
        )


def match(
    tracks: Sequence[Track],
    detections: Sequence[Detection],
    config: TrackerConfig,
    *,
    by_looks_alone: bool = False,
) -> Association:
    """Match tracks, predicted to this frame, with its detections, pass by pass.

    Args:
        tracks: Of earlier frames.
        detections: Of this frame.
        config: The thresholds.
        by_looks_alone: Ignore positions; match by a strict appearance threshold only.
    """
    passes: tuple[tuple[Cost, float], ...] = (
        (partial(fused_cost, config=config), config.match_cost),
        (partial(overlap_cost, config=config), config.iou_cost),
        (partial(relaxed_cost, config=config), config.relaxed_cost),
    )
    if by_looks_alone:
        passes = ((partial(likeness_cost, config=config), config.refind_distance),)
    rows, columns = tuple(range(len(tracks))), tuple(range(len(detections)))
    pairs: list[tuple[int, int]] = []
    evidence = gather(tracks, detections) if rows and columns else None
    for cost, gate in passes:
        if evidence is None or not rows or not columns:
            break
        found = associate(cost(evidence.part(rows, columns)), gate=gate)
        pairs += [(rows[row], columns[column]) for row, column in found.pairs]
        rows = tuple(rows[row] for row in found.free_rows)
        columns = tuple(columns[column] for column in found.free_columns)
    return Association(tuple(sorted(pairs)), rows, columns)


def gather(tracks: Sequence[Track], detections: Sequence[Detection]) -> Evidence:
    """The evidence on every pair; neither side may be empty."""
    motion = stacked(tracks)
    detected = np.array([detection.box_xyxy for detection in detections], np.float64)
    looks_TE, has_T = _embeddings([track.embedding for track in tracks])
    looks_DE, has_D = _embeddings([unit(detection.embedding_D) for detection in detections])
    if has_T.any() and has_D.any() and looks_TE.shape[1] != looks_DE.shape[1]:
        raise ValueError(f"embeddings changed their width from {looks_TE.shape[1]} to {looks_DE.shape[1]}")
    comparable = has_T.any() and has_D.any()
    return Evidence(
        predicted_T4=kalman.box_of(motion),
        seen_T4=np.array([track.seen.box_xyxy for track in tracks], np.float64),
        detected_D4=detected,
        missed_T=np.maximum([track.unseen_s / FRAME_S - 1 for track in tracks], 0.0),
        motion_TD=kalman.gating_distance(motion, kalman.measurement_of(detected)),
        looks_TD=cosine_distance(looks_TE, looks_DE)
        if comparable
        else np.ones((len(tracks), len(detections))),
        has_looks_TD=has_T[:, None] & has_D[None, :],
    )


def fused_cost(evidence: Evidence, *, config: TrackerConfig) -> FloatArray:
    """Cost of pass 1; infinite where motion forbids the pair and looks don't call for it."""
    overlap = 1 - iou_matrix(evidence.predicted_T4, evidence.detected_D4)
    looks = np.where(evidence.has_looks_TD, evidence.looks_TD, overlap)
    missed_T1 = evidence.missed_T[:, None]
    gate_T1 = config.motion_gate * (1 + missed_T1 / config.gate_relax)
    alike = evidence.has_looks_TD & (evidence.looks_TD <= config.refind_distance)
    is_near = (evidence.motion_TD <= gate_T1) & (missed_T1 <= config.max_lost_s / FRAME_S + _ROUNDING)
    possible = is_near | ((missed_T1 > config.recent_s / FRAME_S) & alike)
    motion = np.minimum(evidence.motion_TD, config.motion_gate)
    share = config.appearance_weight
    return np.where(possible, share * looks + (1 - share) * motion, np.inf)


def overlap_cost(evidence: Evidence, *, config: TrackerConfig) -> FloatArray:
    """Cost of pass 2: 1 - IoU of prediction and detection."""
    cost = 1 - iou_matrix(evidence.predicted_T4, evidence.detected_D4)
    return np.where(evidence.missed_T[:, None] <= config.recent_s / FRAME_S, cost, np.inf)


def likeness_cost(evidence: Evidence, *, config: TrackerConfig) -> FloatArray:
    """Cosine distance where it is at most `refind_distance`; infinite elsewhere."""
    alike = evidence.has_looks_TD & (evidence.looks_TD <= config.refind_distance)
    return np.where(alike, evidence.looks_TD, np.inf)


def relaxed_cost(evidence: Evidence, *, config: TrackerConfig) -> FloatArray:
    """Cost of pass 3: how far apart the grown boxes are, and how unlike the looks."""
    buffer_T = np.minimum(config.buffer + config.buffer_growth * evidence.missed_T, config.max_buffer)
    old = buffered_iou(evidence.seen_T4, evidence.detected_D4, buffer_T)
    predicted = buffered_iou(evidence.predicted_T4, evidence.detected_D4, buffer_T)
    overlap = np.maximum(old, predicted)
    looks = np.where(evidence.has_looks_TD, evidence.looks_TD, 0.0)
    possible = (overlap >= config.min_buffered_iou) & (
        evidence.missed_T[:, None] <= config.recent_s / FRAME_S
    )
    return np.where(possible, ((1 - overlap) + looks) / 2, np.inf)


def _embeddings(vectors: Sequence[FloatArray | None]) -> tuple[FloatArray, BoolArray]:
    """The vectors as rows, zeros for None, [N, E], and which rows have one, [N]."""
    known = [vector for vector in vectors if vector is not None]
    width = len(known[0]) if known else 0
    rows = np.zeros((len(vectors), width))
    for row, vector in enumerate(vectors):
        if vector is not None:
            if len(vector) != width:
                raise ValueError(f"embeddings of one frame have widths {width} and {len(vector)}")
            rows[row] = vector
    return rows, np.array([vector is not None for vector in vectors], bool)
