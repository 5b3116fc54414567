"""The match module of one stream: detections in, identities out.

Kalman prediction, three passes of Hungarian matching, lost tracks that are found again, newcomers that must
be seen twice. Everything is kept in the tracker object: two streams share nothing, and each counts from 1.

Source: HVISNet, section III-C.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from partstream_core.boxes import iou_matrix
from partstream_core.tracker import kalman
from partstream_core.tracker.config import TrackerConfig
from partstream_core.tracker.passes import match
from partstream_core.tracker.track import Detection, Track, begin, later, seen_again, stacked

__all__ = ["Detection", "Tracker", "TrackerConfig"]


class Tracker:
    """Gives people of one stream their identities."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config if config is not None else TrackerConfig()
        self._tracks: tuple[Track, ...] = ()
        self._num_identities = 0
        self._now = 0.0

    @classmethod
    def resumed(
        cls, config: TrackerConfig, tracks: Sequence[Track], *, num_identities: int, now: float
    ) -> Self:
        """A tracker that goes on with the tracks of an earlier one; see `snapshot`."""
        tracker = cls(config)
        tracker._tracks = tuple(sorted(tracks, key=_age_rank))
        tracker._num_identities, tracker._now = num_identities, now
        return tracker

    @property
    def num_identities(self) -> int:
        """How many identities were given out so far."""
        return self._num_identities

    @property
    def now(self) -> float:
        """Frames of the stream so far, skipped ones too."""
        return self._now

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks that are seen or may be found again, the oldest first."""
        return self._tracks

    def update(self, detections: Sequence[Detection], *, period: float = 1) -> tuple[int | None, ...]:
        """The identity of each detection; None for one that is not sure enough to be somebody yet.

        A newcomer on the first frame (or the first one after a gap in which everybody is forgotten) is
        somebody at once, a later one when it is seen for the second time in a row. What no track takes and
        scores below `new_track_score` is nobody.

        Args:
            detections: The frame's people, in any order.
            period: Frames since the last update; more than 1 where frames were skipped.

        Raises:
            ValueError: The period is not positive, or embeddings have different widths.
        """
        if not period > 0:
            raise ValueError(f"period must be positive, got {period}")
        is_start = self._now == 0 or period > self.config.max_lost
        self._now += period
        waiting = later(self._tracks, period)
        waiting = [track for track in waiting if track.unseen <= self.config.max_lost]
        owners: dict[int, Track] = {}
        lost = self._meet([track for track in waiting if track.identity], detections, owners)
        self._meet([track for track in waiting if not track.identity], detections, owners)
        for column, detection in enumerate(detections):
            if column not in owners and detection.score >= self.config.new_track_score:
                identity = self._next_identity() if is_start else None
                owners[column] = begin(detection, now=self._now, identity=identity)
        seen = list(owners.values())
        self._tracks = tuple(sorted([*seen, *self._without_doubles(lost, seen)], key=_age_rank))
        return tuple(
            owners[column].identity if column in owners else None for column in range(len(detections))
        )

    def _meet(
        self, tracks: list[Track], detections: Sequence[Detection], owners: dict[int, Track]
    ) -> list[Track]:
        """Hand free detections to the tracks they belong to; returns the tracks left over."""
        free = [column for column in range(len(detections)) if column not in owners]
        found = match(tracks, [detections[column] for column in free], self.config)
        columns = [free[column] for _, column in found.pairs]
        seen = seen_again(
            [tracks[row] for row, _ in found.pairs],
            [detections[column] for column in columns],
            gate=self.config.motion_gate,
            memory=self.config.embedding_memory,
        )
        for column, track in zip(columns, seen, strict=True):
            owners[column] = track if track.identity else replace(track, identity=self._next_identity())
        return [tracks[row] for row in found.free_rows]

    def _without_doubles(self, lost: list[Track], seen: list[Track]) -> list[Track]:
        """The lost tracks but for those that were a second track of somebody who is seen.

        A double lies on the seen person's box, began later, and has been lost for longer than it was seen.
        One that was seen for longer is a person behind another, and stays to be found again.
        """
        if not lost or not seen:
            return lost
        seen_boxes = np.array([track.seen.box_xyxy for track in seen], np.float64)
        lost_boxes = kalman.box_of(stacked(lost))
        near = 1 - iou_matrix(lost_boxes, seen_boxes) < self.config.duplicate_iou_distance
        younger = np.array([track.born for track in lost])[:, None] > np.array([track.born for track in seen])
        brief = np.array([track.unseen >= track.num_sights for track in lost])
        double = (near & younger).any(axis=1) & brief
        return [track for track, is_double in zip(lost, double, strict=True) if not is_double]

    def _next_identity(self) -> int:
        self._num_identities += 1
        return self._num_identities


def _age_rank(track: Track) -> tuple[float, float]:
    return track.born, float("inf") if track.identity is None else track.identity
