"""Segments of a video, their median key frames, and the key frames that each one is encoded with.

`plan_segments` plans a video that is known as a whole, `SegmentPlan` one whose frames are told one by one;
both plan alike. Frames and keys count from 0.

Source: ATEN (Zhou et al., MM 2018), section 4.4 and algorithm 1. The paper takes "the p latter key frames"
where there are too few former ones; we read that each missing former key is replaced by the next later one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames that share a key frame."""

    frames: tuple[int, ...]
    """In time order; their numbers leave gaps where frames of the source were passed over."""
    key: int
    """The median frame: the nearest to the others."""
    neighbours: tuple[int, ...]
    """Key frames that it is encoded with, in time order, itself left out."""

    @property
    def first(self) -> int:
        """The first frame."""
        return self.frames[0]

    @property
    def end(self) -> int:
        """One past the last frame."""
        return self.frames[-1] + 1

    @property
    def others(self) -> tuple[int, ...]:
        """Frames of the segment that borrow the key frame's feature, in time order."""
        return tuple(frame for frame in self.frames if frame != self.key)


def plan_segments(num_frames: int, *, length: int, encoding_range: int) -> tuple[Segment, ...]:
    """The segments of a video, in time order; the last one may be shorter.

    Args:
        num_frames: Frames of the video; 0 has no segments.
        length: Frames of a segment (the paper's l).
        encoding_range: Key frames that each key frame is encoded with (the paper's p), fewer where the video
            has no more.

    Raises:
        ValueError: An argument is out of range.
    """
    if num_frames < 0:
        raise ValueError(f"num_frames must be at least 0, got {num_frames}")
    _check(length, encoding_range)
    spans = [range(first, min(first + length, num_frames)) for first in range(0, num_frames, length)]
    keys = [median(span) for span in spans]
    return tuple(
        Segment(tuple(span), keys[at], tuple(keys[near] for near in _near(at, len(keys), encoding_range)))
        for at, span in enumerate(spans)
    )


class SegmentPlan:
    """The segments of one stream, each as soon as it is certain.

    A segment is certain when its last frame came and all keys that it is encoded with are known: at once,
    except that the first `encoding_range` segments wait for the later keys that stand in for former ones.
    At most (encoding_range + 1) * length frames wait at a time.
    """

    def __init__(self, *, length: int, encoding_range: int) -> None:
        """Begin with no frames; see `plan_segments` for the arguments."""
        _check(length, encoding_range)
        self.length, self.encoding_range = length, encoding_range
        self._open: list[int] = []
        self._waiting: list[tuple[int, ...]] = []
        self._keys: list[int] = []
        """Keys of segments that wait, after those of at most `encoding_range` segments that are out."""
        self._last = -1
        self._finished = False

    @property
    def num_waiting(self) -> int:
        """Frames that were added and belong to no finished segment."""
        return len(self._open) + sum(len(frames) for frames in self._waiting)

    def push(self, frame_index: int) -> list[Segment]:
        """The segments that a frame makes certain, in time order.

        Args:
            frame_index: The stream's next; numbers grow, and may leave gaps.

        Raises:
            ValueError: The number did not grow, or the stream was finished.
        """
        if self._finished:
            raise ValueError(f"frame {frame_index} came after the end")
        if frame_index <= self._last:
            raise ValueError(f"frame_index must be above {self._last}, got {frame_index}")
        self._last = frame_index
        self._open.append(frame_index)
        if len(self._open) < self.length:
            return []
        self._close()
        return self._release() if len(self._keys) > self.encoding_range else []

    def finish(self) -> list[Segment]:
        """The segments that are left, the last of which may be shorter; the plan takes no more frames."""
        self._finished = True
        if self._open:
            self._close()
        return self._release()

    def _close(self) -> None:
        self._waiting.append(tuple(self._open))
        self._keys.append(median(self._open))
        self._open = []

    def _release(self) -> list[Segment]:
        keys, num_out = self._keys, len(self._keys) - len(self._waiting)
        segments = []
        for at, frames in enumerate(self._waiting, start=num_out):
            near = _near(at, len(keys), self.encoding_range)
            segments.append(Segment(frames, keys[at], tuple(keys[index] for index in near)))
        self._waiting = []
        self._keys = keys[max(len(keys) - self.encoding_range, 0) :]
        return segments


def median(frames: Sequence[int]) -> int:
    """The frame in the middle; the later one of two."""
    return frames[len(frames) // 2]


def _check(length: int, encoding_range: int) -> None:
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if encoding_range < 0:
        raise ValueError(f"encoding_range must be at least 0, got {encoding_range}")


def _near(index: int, num_keys: int, encoding_range: int) -> list[int]:
    former = list(range(max(index - encoding_range, 0), index))
    missing = encoding_range - len(former)
    return former + list(range(index + 1, min(index + 1 + missing, num_keys)))
