"""Key-frame scheduler: a decision with its reason for each frame of a stream.

A scheduler reads no clock and draws no numbers: the same frames and observations give the same decisions.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self

from partstream_core.key_frames import SegmentPlan
from partstream_core.schedule.config import ScheduleConfig, ScheduleMode
from partstream_core.schedule.state import SchedulerState, check_observed


class Reason(StrEnum):
    """Reason of a decision for or against a key frame."""

    EVERY_FRAME = "every-frame"
    FIRST = "first"
    """There is no key frame to propagate from."""
    SCENE_CUT = "scene-cut"
    WARP_ERROR = "warp-error"
    OUTSIDE = "outside"
    SCALE = "scale"
    BIRTH = "birth"
    LOSS = "loss"
    CONFLICT = "conflict"
    INTERVAL = "interval"
    """The last key frame is too old."""
    PROPAGATED = "propagated"
    """No key frame: features are propagated from the last one."""
    RESTED = "min-interval"
    """No key frame: one was due, but the last one is less than `min_interval` frames old."""
    BUDGET = "budget"
    """No key frame: one was due, but the budget of key frames is spent."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a frame is a key frame, and why."""

    key_frame: bool
    reason: Reason

    @property
    def starts_over(self) -> bool:
        """Whether no earlier key frame is usable: the scene was cut, or the stream begins here."""
        return self.key_frame and self.reason in (Reason.FIRST, Reason.SCENE_CUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Measures of how well the last key frame's features fit a frame, taken before the decision."""

    warp_error: float = 0.0
    """Mean absolute photometric error of the warped key frame inside people, 0 to 1."""
    outside: float = 0.0
    """Share of people's pixels whose flow leads out of the key frame, 0 to 1."""
    scale_deviation: float = 0.0
    """Mean |scale - 1| of the flow network's scale map inside people; 0 where flow has no scale map."""
    scene_change: float = 0.0
    """How far the frame differs from its key frame as a whole, 0 to 1."""
    births: int = 0
    """Identities that were given out at the frame before; likewise below."""
    losses: int = 0
    """Identities visible two frames before and missing at the frame before."""
    conflicts: int = 0
    """Detections that more than one identity claimed."""

    def __post_init__(self) -> None:
        check_observed(asdict(self))


_MEASURED: Final = {
    "warp_error": Reason.WARP_ERROR,
    "outside": Reason.OUTSIDE,
    "scale_deviation": Reason.SCALE,
}
_URGENT: Final = (Reason.FIRST, Reason.SCENE_CUT)
"""Reasons that ignore `min_interval` and may overdraw the budget: no earlier feature is usable."""


class KeyFrameScheduler:
    """Decides frame by frame; one instance serves one stream.

    Modes that look ahead decide on segments, not on frames: see `segment_plan`.
    """

    def __init__(self, config: ScheduleConfig, state: SchedulerState | None = None) -> None:
        """Create the scheduler of a new stream, or continue from a state.

        Raises:
            ValueError: The mode looks ahead.
        """
        if config.mode is ScheduleMode.PAPER:
            raise ValueError(f"mode {config.mode} looks ahead: ask segment_plan")
        self.config = config
        self._state = state if state is not None else SchedulerState()

    @classmethod
    def restored(cls, config: ScheduleConfig, snapshot: Mapping[str, Any]) -> Self:
        """A scheduler that continues from a snapshot of another one.

        Call `forget_key` if the key frame's features were not restored.

        Raises:
            ValueError: The snapshot is damaged.
        """
        return cls(config, SchedulerState.from_json(snapshot))

    def snapshot(self) -> dict[str, Any]:
        """The scheduler's state as JSON values."""
        return self._state.to_json()

    def forget_key(self) -> None:
        """Make the next frame a key frame because no features are available; its index may be any."""
        self._state = replace(self._state, last_index=-1, age=None, asked=())

    @property
    def needs_observation(self) -> bool:
        """Whether the next decision reads an observation, which needs flow first.

        It does so too when the interval makes the next frame a key frame: a scene cut has precedence over it.
        """
        return self.config.mode is ScheduleMode.ADAPTIVE and self._state.age is not None

    def decide(
        self, frame_index: int, time_s: float = 0.0, observation: Observation | None = None
    ) -> Decision:
        """Whether the frame is a key frame.

        Args:
            frame_index: Number of the frame in its stream; numbers grow, and may leave gaps.
            time_s: Presentation time; only a budget reads it.
            observation: Measures of the frame; ignored unless `needs_observation`.

        Raises:
            ValueError: The index is negative or did not grow, the time is not finite, or there is no
                observation where one is needed.
        """
        if frame_index < 0:
            raise ValueError(f"frame_index must not be negative, got {frame_index}")
        if self.config.mode is ScheduleMode.EVERY_FRAME:
            return Decision(key_frame=True, reason=Reason.EVERY_FRAME)
        if frame_index <= self._state.last_index:
            raise ValueError(f"frame_index must be above {self._state.last_index}, got {frame_index}")
        if not math.isfinite(time_s):
            raise ValueError(f"time_s must be finite, got {time_s}")
        if not self.needs_observation:
            observation = None
        elif observation is None:
            raise ValueError(f"frame {frame_index} needs an observation in mode {self.config.mode}")
        tokens, asked = self._tokens(time_s), self._asked(observation)
        decision = self._settle(self._wanted(observation, asked), tokens)
        age = 0 if decision.key_frame or self._state.age is None else self._state.age + 1
        if decision.key_frame and self.config.budget and tokens is not None:
            tokens = self.config.budget.without(tokens)
        self._state = SchedulerState(frame_index, age, asked, tokens, time_s)
        return decision

    def _tokens(self, time_s: float) -> float | None:
        budget, state = self.config.budget, self._state
        if budget is None:
            return None
        if state.tokens is None:
            return budget.burst
        return budget.after(state.tokens, time_s - state.time_s)

    def _asked(self, observation: Observation | None) -> tuple[str, ...]:
        """Names of measures above their thresholds; empty at a scene cut, which resets their hysteresis."""
        triggers = self.config.triggers
        if observation is None or observation.scene_change >= triggers.scene_change:
            return ()
        return tuple(
            name
            for name, band in triggers.bands().items()
            if band.asks(getattr(observation, name), asked=name in self._state.asked)
        )

    def _wanted(self, observation: Observation | None, asked: tuple[str, ...]) -> Reason | None:
        """The first reason for a key frame; None if there is none."""
        age = self._state.age
        if age is None:
            return Reason.FIRST
        if observation is not None and observation.scene_change >= self.config.triggers.scene_change:
            return Reason.SCENE_CUT
        if age + 1 >= self.config.interval:
            return Reason.INTERVAL
        if asked:
            return _MEASURED[asked[0]]
        return self._tracker_event(observation)

    def _tracker_event(self, observation: Observation | None) -> Reason | None:
        """The tracker event that asks for a key frame; events at a key frame ask for none."""
        if observation is None or not self.config.triggers.tracker or self._state.age == 0:
            return None
        counts = {
            Reason.BIRTH: observation.births,
            Reason.LOSS: observation.losses,
            Reason.CONFLICT: observation.conflicts,
        }
        return next((reason for reason, count in counts.items() if count), None)

    def _settle(self, wanted: Reason | None, tokens: float | None) -> Decision:
        if wanted is None:
            return Decision(key_frame=False, reason=Reason.PROPAGATED)
        config, urgent = self.config, wanted in _URGENT
        rests = (self._state.age or 0) + 1 < config.triggers.min_interval
        if config.mode is ScheduleMode.ADAPTIVE and rests and not urgent:
            return Decision(key_frame=False, reason=Reason.RESTED)
        if wanted is Reason.FIRST or config.budget is None or tokens is None:
            return Decision(key_frame=True, reason=wanted)
        allowed = config.budget.allows(tokens, urgent=urgent)
        return Decision(key_frame=allowed, reason=wanted if allowed else Reason.BUDGET)


def segment_plan(config: ScheduleConfig) -> SegmentPlan:
    """The plan of a stream in paper mode: frames go in one by one, segments come out.

    Raises:
        ValueError: The mode decides frame by frame.
    """
    if config.mode is not ScheduleMode.PAPER:
        raise ValueError(f"mode {config.mode} decides frame by frame: ask KeyFrameScheduler")
    return SegmentPlan(length=config.interval, encoding_range=config.encoding_range)
