"""Which frames are key frames: the ones that run the backbone instead of borrowing features."""

from dataclasses import dataclass
from enum import StrEnum


class ScheduleMode(StrEnum):
    """How key frames are chosen."""

    EVERY_FRAME = "every-frame"
    """Every frame is a key frame; nothing is propagated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """When a frame runs the backbone."""

    mode: ScheduleMode = ScheduleMode.EVERY_FRAME
    interval: int = 1
    """A key frame at least every this many frames (the papers' l); 1 for every frame."""

    def __post_init__(self) -> None:
        if self.interval != 1:
            raise ValueError(f"interval must be 1 in mode {self.mode}, got {self.interval}")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a frame is a key frame, and why."""

    key_frame: bool
    reason: str


class KeyFrameScheduler:
    """Decides frame by frame; one instance serves one stream."""

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config

    def decide(self, frame_index: int) -> Decision:
        """Whether the frame is a key frame.

        Args:
            frame_index: 0-based number of the frame in its stream.

        Raises:
            ValueError: The index is negative.
        """
        if frame_index < 0:
            raise ValueError(f"frame_index must not be negative, got {frame_index}")
        return Decision(key_frame=True, reason=str(self.config.mode))
