"""Tracklets: runs of frames in which the tracker saw one person, with a few of their embeddings.

Shape suffixes: F frames, D embedding.

Source: DyeNet (Li and Loy, ECCV 2018), section 2.2; here the match module makes tracklets, frame by frame.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from partstream_core.follow.templates import FloatArray, unit

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One person in one frame."""

    frame: int
    score: float
    embedding_D: FloatArray | None


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """A run of frames of one identity."""

    identity: int
    frames_F: IntArray
    """Frames with a sight, rising."""
    looks: tuple[Sight, ...]
    """Some sights with embeddings, spread evenly over the frames; rising frames."""

    def overlaps(self, other: "Tracklet") -> bool:
        """Whether both are seen in one frame."""
        return bool(np.intersect1d(self.frames_F, other.frames_F, assume_unique=True).size)

    def within(self, first: int, last: int) -> "Tracklet | None":
        """The part from one frame to another, both included; None where there are no sights."""
        frames = self.frames_F[(self.frames_F >= first) & (self.frames_F <= last)]
        if not frames.size:
            return None
        looks = tuple(sight for sight in self.looks if first <= sight.frame <= last)
        return replace(self, frames_F=frames, looks=looks)


@dataclass(slots=True)
class _Open:
    """A tracklet that may go on."""

    frames: list[int] = field(default_factory=list)
    looks: list[Sight] = field(default_factory=list)
    num_looked: int = 0
    """Sights with embeddings so far."""
    stride: int = 1
    """One of so many of them is kept."""


class TrackletBuilder:
    """Collects sights frame by frame.

    Args:
        max_gap: Frames without a sight after which an identity begins another tracklet: it was found again by
            its looks, which the linking judges itself.
        max_looks: Sights with embeddings that a tracklet keeps.
    """

    def __init__(self, *, max_gap: int = 15, max_looks: int = 12) -> None:
        if max_gap < 0 or max_looks < 1:
            raise ValueError(f"max_gap and max_looks must be positive, got {max_gap} and {max_looks}")
        self._max_gap, self._max_looks = max_gap, max_looks
        self._open: dict[int, _Open] = {}
        self._done: list[Tracklet] = []

    def add(self, identity: int, sight: Sight) -> None:
        """Take in a sight; those of an identity come in the order of frames.

        Raises:
            ValueError: The frame is not behind the identity's last one.
        """
        current = self._open.get(identity)
        if current is not None and sight.frame <= current.frames[-1]:
            raise ValueError(
                f"identity {identity} was seen in frame {current.frames[-1]} before {sight.frame}"
            )
        if current is not None and sight.frame - current.frames[-1] > self._max_gap + 1:
            self._done.append(_closed(identity, self._open.pop(identity)))
            current = None
        if current is None:
            current = self._open[identity] = _Open()
        current.frames.append(sight.frame)
        if sight.embedding_D is not None:
            if current.num_looked % current.stride == 0:
                current.looks.append(replace(sight, embedding_D=unit(sight.embedding_D)))
            current.num_looked += 1
            if len(current.looks) > self._max_looks:
                current.looks, current.stride = current.looks[::2], 2 * current.stride

    def tracklets(self) -> list[Tracklet]:
        """All tracklets so far, by first frame."""
        found = [*self._done, *(_closed(identity, each) for identity, each in self._open.items())]
        return sorted(found, key=lambda each: (int(each.frames_F[0]), each.identity))


def _closed(identity: int, one: _Open) -> Tracklet:
    return Tracklet(identity, np.array(one.frames, np.int64), tuple(one.looks))
