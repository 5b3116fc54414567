"""A tracker as few bytes, so that a stream can go on in another process with its identities.

A track takes 4 * (8 + 36 + 5) + 28 bytes and 2 for each number of its embedding: positions and covariances
are kept in single precision, looks in half. What is read back is close to what was written, not equal to it.
"""

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.tracker.kalman import KalmanState
from partstream_core.tracker.track import Detection, Track
from partstream_core.tracker.tracker import Tracker, TrackerConfig

_HEADER: Final = struct.Struct("<BIdHH")  # format, identities given, seconds so far, tracks, embedding width
_COUNTS: Final = struct.Struct("<IIIdd")  # identity, sights, frames missed, born and unseen in seconds
_FORMAT: Final = 2
"""Format 1 counted frames in place of seconds."""
_MOST: Final = 2**32 - 1
_LOWER: Final = np.tril_indices(8)
_FLOATS: Final = 8 + len(_LOWER[0]) + 5


def snapshot(tracker: Tracker, *, max_bytes: int) -> bytes:
    """The tracker's state in at most `max_bytes` bytes; tracks unseen for longest are left out first.

    Raises:
        ValueError: Not even the header fits.
    """
    if max_bytes < _HEADER.size:
        raise ValueError(f"max_bytes must be at least {_HEADER.size}, got {max_bytes}")
    tracks = sorted(tracker.tracks, key=lambda track: (track.identity is None, track.unseen_s))
    width = max((len(track.embedding) for track in tracks if track.embedding is not None), default=0)
    size = _COUNTS.size + 4 * _FLOATS + 2 * width
    kept = tracks[: min((max_bytes - _HEADER.size) // size, 65535)]
    header = _HEADER.pack(_FORMAT, tracker.num_identities, tracker.now_s, len(kept), width)
    return header + b"".join(_pack(track, width) for track in kept)


def restored(config: TrackerConfig, data: bytes) -> Tracker:
    """A tracker that goes on where a snapshot was taken.

    Raises:
        ValueError: The bytes are no snapshot.
    """
    try:
        form, num_identities, now_s, num_tracks, width = _HEADER.unpack_from(data)
    except struct.error as error:
        raise ValueError(f"the snapshot of a tracker is damaged: {error}") from None
    size = _COUNTS.size + 4 * _FLOATS + 2 * width
    if form != _FORMAT or len(data) != _HEADER.size + num_tracks * size:
        raise ValueError(f"{len(data)} bytes are no snapshot of a tracker with {num_tracks} tracks")
    starts = range(_HEADER.size, len(data), size)
    tracks = [_unpack(data[start : start + size], width) for start in starts]
    return Tracker.resumed(config, tracks, num_identities=num_identities, now_s=now_s)


def _pack(track: Track, width: int) -> bytes:
    counts = _COUNTS.pack(
        track.identity or 0,
        min(track.num_sights, _MOST),
        min(track.num_missed, _MOST),
        track.born_s,
        track.unseen_s,
    )
    numbers = np.concatenate(
        [track.motion.mean, track.motion.covariance[_LOWER], track.seen.box_xyxy, [track.seen.score]]
    )
    looks = np.zeros(width) if track.embedding is None else track.embedding
    return counts + numbers.astype("<f4").tobytes() + looks.astype("<f2").tobytes()


def _unpack(data: bytes, width: int) -> Track:
    identity, num_sights, num_missed, born_s, unseen_s = _COUNTS.unpack_from(data)
    numbers = np.frombuffer(data, "<f4", _FLOATS, _COUNTS.size).astype(np.float64)
    looks = np.frombuffer(data, "<f2", width, _COUNTS.size + 4 * _FLOATS).astype(np.float64)
    if not (np.isfinite(numbers).all() and np.isfinite(looks).all()):
        raise ValueError("the snapshot of a tracker holds numbers that are not finite")
    covariance = np.zeros((8, 8))
    covariance[_LOWER] = numbers[8:-5]
    covariance = covariance + np.tril(covariance, -1).T
    x1, y1, x2, y2, score = (float(number) for number in numbers[-5:])
    return Track(
        identity=identity or None,
        motion=KalmanState(numbers[:8], covariance),
        embedding=_looks(looks),
        seen=Detection((x1, y1, x2, y2), score),
        num_sights=num_sights,
        born_s=born_s,
        unseen_s=unseen_s,
        num_missed=num_missed,
    )


def _looks(looks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """The embedding at length 1; None where the track had none."""
    length = float(np.linalg.norm(looks))
    return looks / length if length > 0 else None
