"""Key-frame schedules: which frames run the backbone, and which propagate features."""

from partstream_core.key_frames import Segment, SegmentPlan
from partstream_core.schedule.budget import Budget
from partstream_core.schedule.config import (
    Band,
    FlowSource,
    ScheduleConfig,
    ScheduleError,
    ScheduleMode,
    Triggers,
)
from partstream_core.schedule.scheduler import Decision, KeyFrameScheduler, Observation, Reason, segment_plan
from partstream_core.schedule.state import SchedulerState

__all__ = [
    "Band",
    "Budget",
    "Decision",
    "FlowSource",
    "KeyFrameScheduler",
    "Observation",
    "Reason",
    "ScheduleConfig",
    "ScheduleError",
    "ScheduleMode",
    "SchedulerState",
    "Segment",
    "SegmentPlan",
    "Triggers",
    "segment_plan",
]
