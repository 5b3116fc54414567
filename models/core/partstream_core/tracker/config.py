"""The thresholds of the match module."""

from dataclasses import dataclass, fields
from typing import Final

FRAME_S: Final = 1 / 25
"""What rules and noise that are stated per frame mean by a frame, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackerConfig:
    """When a detection and a track are the same person.

    The defaults of the first two passes are those of the JDE family, which HVISNet's match module belongs to;
    the paper prints none. The relaxed pass and the rules for lost tracks are ours.
    """

    new_track_score: float = 0.5
    """A detection that no track takes begins a track from this score on."""
    max_lost_s: float = 30 * FRAME_S
    """Seconds that a track may go unseen; after them only looks may bring it back, if it is kept at all."""
    min_missed: int = 3
    """Parsed frames without a sight for which a track is kept, whatever time they took."""
    max_missed: int = 300
    """Parsed frames without a sight after which a track is forgotten, however little time they took."""

    appearance_weight: float = 0.98
    """Share of the appearance distance in the cost of pass 1; the rest is the motion distance."""
    motion_gate: float = 9.4877
    """Largest squared Mahalanobis distance between a prediction and a box: chi-square, .95, 4 dof."""
    gate_relax: float = 3.0
    """Every so many frames (of `FRAME_S`) unseen the motion gate widens by its own size again."""
    match_cost: float = 0.7
    """Highest cost of a pair in pass 1."""
    embedding_memory: float = 0.9
    """Share of a track's embedding that stays when it meets a new one."""

    iou_cost: float = 0.5
    """Highest 1 - IoU of a pair in pass 2."""

    recent_s: float = 10 * FRAME_S
    """Seconds unseen after which position says little, and a strict likeness may bring a track back."""
    refind_distance: float = 0.2
    """Highest cosine distance of a strict likeness, which finds a track again anywhere in the frame: one that
    was unseen for longer than `recent_s`, and any track across a scene cut. At .2 the shipped bundle finds
    .94 of its people again and takes .008 of other clips' people for them, at .25 .96 and .014 (`python -m
    partstream_server.benchmarks.compare.likeness`)."""
    buffer: float = 0.3
    """Pass 3 grows both boxes on each side by this share of their mean side."""
    buffer_growth: float = 0.05
    """Growth of `buffer` for each further unseen frame (of `FRAME_S`)."""
    max_buffer: float = 0.8
    """Greatest value of `buffer`."""
    min_buffered_iou: float = 0.1
    """Least IoU of the grown boxes of a pair in pass 3."""
    relaxed_cost: float = 0.75
    """Highest mean of 1 - IoU of the grown boxes and cosine distance in pass 3."""

    duplicate_iou_distance: float = 0.15
    """A lost track whose 1 - IoU with a seen one is less than this may be a double of it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ValueError(f"{field.name} must not be negative, got {value}")
        for name in ("new_track_score", "appearance_weight", "embedding_memory"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be at most 1, got {getattr(self, name)}")
        if self.gate_relax == 0:
            raise ValueError("gate_relax must be positive, got 0")
