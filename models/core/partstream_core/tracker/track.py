"""Detections and tracks, and the updates of a track by time and by a matched detection.

Shape suffixes: T tracks, D or E embedding width.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box
from partstream_core.tracker import kalman
from partstream_core.tracker.config import FRAME_S
from partstream_core.tracker.kalman import KalmanState

FloatArray: TypeAlias = npt.NDArray[np.float64]
_MAX_PREDICTED_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One person found in one frame."""

    box_xyxy: Box
    score: float
    embedding_D: npt.NDArray[np.floating] | None = None
    """Appearance embedding of any length, compared by angle. None if the bundle has none."""
    mask: npt.NDArray[np.bool_] | None = None
    """Carried along to the track, not looked at."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.box_xyxy)):
            raise ValueError(f"a detection's box must be finite, got {self.box_xyxy}")
        if self.embedding_D is not None and not np.isfinite(self.embedding_D).all():
            raise ValueError("a detection's embedding must be finite")


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person through time."""

    identity: int | None
    """None until the track is confirmed."""
    motion: KalmanState
    embedding: FloatArray | None
    """Running mean of what the person looks like, unit length."""
    seen: Detection
    """The latest sight: its box and mask are the track's, also after a loss."""
    num_sights: int
    born_s: float
    """Time of the stream at the first sight."""
    unseen_s: float
    """Seconds since the latest sight."""
    num_missed: int
    """Parsed frames since the latest sight in which the track was not found."""


def unit(embedding: npt.NDArray[np.floating] | None) -> FloatArray | None:
    """The embedding at length 1, or None if there is none or it has no direction."""
    if embedding is None:
        return None
    exact = np.asarray(embedding, np.float64)
    length = math.sqrt(exact @ exact)
    return exact / length if length > 0 else None


def begin(detection: Detection, *, now_s: float, identity: int | None) -> Track:
    """The track that begins with this detection."""
    return Track(
        identity=identity,
        motion=kalman.initiate(kalman.measurement_of(detection.box_xyxy)),
        embedding=unit(detection.embedding_D),
        seen=detection,
        num_sights=1,
        born_s=now_s,
        unseen_s=0.0,
        num_missed=0,
    )


def later(tracks: Sequence[Track], elapsed_s: float) -> list[Track]:
    """The tracks some time later, not yet seen there.

    A track that is already lost keeps its shape: what its box did last is often the occlusion's doing. Motion
    is predicted over at most `_MAX_PREDICTED_S`: after a longer gap position is not asked.
    """
    if not tracks:
        return []
    motion = stacked(tracks)
    motion.mean[[track.unseen_s > 0 for track in tracks], 6:] = 0
    predicted = kalman.predict(motion, min(elapsed_s, _MAX_PREDICTED_S) / FRAME_S)
    return [
        replace(track, motion=own, unseen_s=track.unseen_s + elapsed_s, num_missed=track.num_missed + 1)
        for track, own in zip(tracks, _each(predicted), strict=True)
    ]


def seen_again(
    tracks: Sequence[Track], detections: Sequence[Detection], *, gate: float, memory: float
) -> list[Track]:
    """The tracks once each has been seen as the detection beside it.

    Args:
        tracks: The tracks, predicted to the detections' time.
        detections: Where they were seen.
        gate: Squared Mahalanobis distance beyond which the motion was misjudged and its filter starts anew.
        memory: Share of the old embedding that stays.
    """
    if not tracks:
        return []
    measured_T4 = kalman.measurement_of([detection.box_xyxy for detection in detections])
    motion = stacked(tracks)
    expected_T = kalman.gating_distance(motion, measured_T4[:, None])[:, 0] <= gate
    chosen = kalman.update(motion, measured_T4)
    if not expected_T.all():
        anew = kalman.initiate(measured_T4)
        chosen = KalmanState(
            np.where(expected_T[:, None], chosen.mean, anew.mean),
            np.where(expected_T[:, None, None], chosen.covariance, anew.covariance),
        )
    return [
        replace(
            track,
            motion=own,
            embedding=_blend(track.embedding, unit(detection.embedding_D), memory),
            seen=detection,
            num_sights=track.num_sights + 1,
            unseen_s=0.0,
            num_missed=0,
        )
        for track, detection, own in zip(tracks, detections, _each(chosen), strict=True)
    ]


def stacked(tracks: Sequence[Track]) -> KalmanState:
    """The motions of tracks as one state; filters cost by the call, not by the track."""
    return KalmanState(
        np.array([track.motion.mean for track in tracks]),
        np.array([track.motion.covariance for track in tracks]),
    )


def _each(state: KalmanState) -> Iterator[KalmanState]:
    for mean, covariance in zip(state.mean, state.covariance, strict=True):
        yield KalmanState(mean, covariance)


def _blend(old: FloatArray | None, new: FloatArray | None, memory: float) -> FloatArray | None:
    if old is None or new is None:
        return new if old is None else old
    blended = unit(memory * old + (1 - memory) * new)
    return old if blended is None else blended
