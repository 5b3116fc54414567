"""A detection, a track, and what time and a new sight do to a track.

Shape suffixes: E embedding width.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box
from partstream_core.tracker import kalman
from partstream_core.tracker.kalman import KalmanState

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One person found in one frame."""

    box_xyxy: Box
    score: float
    embedding_D: npt.NDArray[np.floating] | None = None
    """What the person looks like; of any length, compared by angle. None where the bundle has none."""
    mask: npt.NDArray[np.bool_] | None = None
    """Carried along to the track, not looked at."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.box_xyxy).all():
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
    born: float
    """Frames of the stream before the first sight."""
    unseen: float
    """Frames since the latest sight."""


def unit(embedding: npt.NDArray[np.floating] | None) -> FloatArray | None:
    """The embedding at length 1, or None if there is none or it has no direction."""
    if embedding is None:
        return None
    length = float(np.linalg.norm(embedding))
    return np.asarray(embedding / length, np.float64) if length > 0 else None


def begin(detection: Detection, *, now: float, identity: int | None) -> Track:
    """The track that begins with this detection."""
    return Track(
        identity=identity,
        motion=kalman.initiate(kalman.measurement_of(detection.box_xyxy)),
        embedding=unit(detection.embedding_D),
        seen=detection,
        num_sights=1,
        born=now,
        unseen=0.0,
    )


def later(track: Track, period: float) -> Track:
    """The track `period` frames later, not yet seen there.

    A track that is already lost keeps its shape: what its box did last is often the occlusion's doing.
    """
    motion = track.motion
    if track.unseen > 0:
        mean = motion.mean.copy()
        mean[6:] = 0
        motion = KalmanState(mean, motion.covariance)
    return replace(track, motion=kalman.predict(motion, period), unseen=track.unseen + period)


def seen_again(track: Track, detection: Detection, *, gate: float, memory: float) -> Track:
    """The track once it has been seen as this detection.

    Args:
        track: The track, predicted to the detection's time.
        detection: Where it was seen.
        gate: Squared Mahalanobis distance beyond which the motion was misjudged and its filter starts anew.
        memory: Share of the old embedding that stays.
    """
    measured = kalman.measurement_of(detection.box_xyxy)
    surprise = float(kalman.gating_distance(track.motion, measured[None])[0])
    return replace(
        track,
        motion=kalman.update(track.motion, measured) if surprise <= gate else kalman.initiate(measured),
        embedding=_blend(track.embedding, unit(detection.embedding_D), memory),
        seen=detection,
        num_sights=track.num_sights + 1,
        unseen=0.0,
    )


def _blend(old: FloatArray | None, new: FloatArray | None, memory: float) -> FloatArray | None:
    if old is None or new is None:
        return new if old is None else old
    blended = unit(memory * old + (1 - memory) * new)
    return old if blended is None else blended
