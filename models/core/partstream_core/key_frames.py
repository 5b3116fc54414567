"""Key frames of a video that is known as a whole: segments, medians, and whom a key frame is encoded with.

Frames and keys count from 0.

Source: ATEN (Zhou et al., MM 2018), section 4.4 and algorithm 1. The paper takes "the p latter key frames"
where there are too few former ones; we read that each missing former key is replaced by the next later one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames that share a key frame."""

    first: int
    end: int
    """One past the last frame."""
    key: int
    """The median frame: the nearest to the others."""
    neighbours: tuple[int, ...]
    """Key frames that it is encoded with, in time order, itself left out."""

    @property
    def others(self) -> tuple[int, ...]:
        """Frames of the segment that borrow the key frame's feature, in time order."""
        return tuple(frame for frame in range(self.first, self.end) if frame != self.key)


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
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if encoding_range < 0:
        raise ValueError(f"encoding_range must be at least 0, got {encoding_range}")
    spans = [(first, min(first + length, num_frames)) for first in range(0, num_frames, length)]
    keys = [first + (end - first) // 2 for first, end in spans]
    return tuple(
        Segment(
            first, end, keys[index], tuple(keys[near] for near in _near(index, len(keys), encoding_range))
        )
        for index, (first, end) in enumerate(spans)
    )


def _near(index: int, num_keys: int, encoding_range: int) -> list[int]:
    former = list(range(max(index - encoding_range, 0), index))
    missing = encoding_range - len(former)
    return former + list(range(index + 1, min(index + 1 + missing, num_keys)))
