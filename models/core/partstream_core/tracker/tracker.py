"""The match module of one stream: detections in, identities out.

Kalman prediction, three passes of Hungarian matching, lost tracks that are found again, newcomers that must
be seen twice. Everything is kept in the tracker object: two streams share nothing, and each counts from 1.

Source: HVISNet, section III-C.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from partstream_core.boxes import iou_matrix
from partstream_core.tracker import kalman
from partstream_core.tracker.config import FRAME_S, TrackerConfig
from partstream_core.tracker.passes import match
from partstream_core.tracker.track import Detection, Track, begin, later, seen_again, stacked

__all__ = ["Detection", "Tracker", "TrackerConfig"]


class Tracker:
    """Gives people of one stream their identities."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config if config is not None else TrackerConfig()
        self._tracks: tuple[Track, ...] = ()
        self._num_identities = 0
        self._now_s = 0.0

    @classmethod
    def resumed(
        cls, config: TrackerConfig, tracks: Sequence[Track], *, num_identities: int, now_s: float
    ) -> Self:
        """A tracker that goes on with the tracks of an earlier one; see `snapshot`."""
        tracker = cls(config)
        tracker._tracks = tuple(sorted(tracks, key=_age_rank))
        tracker._num_identities, tracker._now_s = num_identities, now_s
        return tracker

    @property
    def num_identities(self) -> int:
        """How many identities were given out so far."""
        return self._num_identities

    @property
    def now_s(self) -> float:
        """Time of the stream so far, in seconds."""
        return self._now_s

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks that are seen or may be found again, the oldest first."""
        return self._tracks

    def update(
        self, detections: Sequence[Detection], *, elapsed_s: float = FRAME_S, scene_cut: bool = False
    ) -> tuple[int | None, ...]:
        """Match the people of a frame; return each one's identity, None where it is not confirmed yet.

        A new track is confirmed at once on the first frame, on the first one after a scene cut, and on the
        first one after a gap of more than `max_lost_s`; otherwise when it is seen for the second time in a
        row. Detections that no track takes and that score below `new_track_score` have no identity.

        Args:
            detections: The frame's people, in any order.
            elapsed_s: Time since the last update.
            scene_cut: Whether the scene was cut in between: position says nothing then, and only a strict
                likeness carries an identity over.

        Raises:
            ValueError: No time has passed, or embeddings have different widths.
        """
        if not (elapsed_s > 0 and math.isfinite(elapsed_s)):
            raise ValueError(f"elapsed_s must be positive, got {elapsed_s}")
        confirms = self._now_s == 0 or scene_cut or elapsed_s > self.config.max_lost_s
        self._now_s += elapsed_s
        waiting = [track for track in later(self._tracks, elapsed_s) if self._is_kept(track)]
        if scene_cut:
            waiting = [track for track in waiting if track.identity]
        owners: dict[int, Track] = {}
        identified = [track for track in waiting if track.identity]
        lost = self._meet(identified, detections, owners, by_looks_alone=scene_cut)
        self._meet([track for track in waiting if not track.identity], detections, owners)
        for column, detection in enumerate(detections):
            if column not in owners and detection.score >= self.config.new_track_score:
                identity = self._next_identity() if confirms else None
                owners[column] = begin(detection, now_s=self._now_s, identity=identity)
        seen = list(owners.values())
        self._tracks = tuple(sorted([*seen, *self._without_doubles(lost, seen)], key=_age_rank))
        return tuple(
            owners[column].identity if column in owners else None for column in range(len(detections))
        )

    def _is_kept(self, track: Track) -> bool:
        """Whether a track that was predicted to this frame may still be found again."""
        num_missed = track.num_missed - 1  # before this frame
        if num_missed > self.config.max_missed:
            return False
        return track.unseen_s <= self.config.max_lost_s or num_missed <= self.config.min_missed

    def _meet(
        self,
        tracks: list[Track],
        detections: Sequence[Detection],
        owners: dict[int, Track],
        *,
        by_looks_alone: bool = False,
    ) -> list[Track]:
        """Hand free detections to the tracks they belong to; return the tracks left over."""
        free = [column for column in range(len(detections)) if column not in owners]
        chosen = [detections[column] for column in free]
        found = match(tracks, chosen, self.config, by_looks_alone=by_looks_alone)
        columns = [free[column] for _, column in found.pairs]
        seen = seen_again(
            [tracks[row] for row, _ in found.pairs],
            [detections[column] for column in columns],
            gate=-1.0 if by_looks_alone else self.config.motion_gate,
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
        born_s = np.array([track.born_s for track in lost])
        younger = born_s[:, None] > np.array([track.born_s for track in seen])
        brief = np.array([track.unseen_s >= track.num_sights * FRAME_S for track in lost])
        double = (near & younger).any(axis=1) & brief
        return [track for track, is_double in zip(lost, double, strict=True) if not is_double]

    def _next_identity(self) -> int:
        self._num_identities += 1
        return self._num_identities


def _age_rank(track: Track) -> tuple[float, float]:
    return track.born_s, float("inf") if track.identity is None else track.identity
