"""One clip parsed one way: results, label maps, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from partstream_core.results import FrameResult
from partstream_core.schedule import ScheduleConfig
from partstream_server.engine import Engine
from partstream_server.media import Frame
from partstream_server.pipeline.driver import drive
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest
from partstream_server.pipeline.session import ParsedFrame, Session, SessionConfig
from partstream_server.pipeline.stage_times import StageClock

_HOST_STAGES = ("infer",)
"""Stages of the host for features and heads: resizing, initial flow, warps."""


@dataclass(slots=True)
class Cost:
    """Work done for a number of frames."""

    num_frames: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """Of each graph."""
    stages_s: Counter[str] = field(default_factory=Counter)
    """Seconds in each graph, and on the host for features and heads (`infer`)."""

    def add(self, other: Cost) -> None:
        """Count another clip in."""
        self.num_frames += other.num_frames
        self.calls += other.calls
        self.stages_s += other.stages_s

    @property
    def ms(self) -> float:
        """Milliseconds a frame."""
        return sum(self.stages_s.values()) / self.num_frames * 1000

    @property
    def backbone(self) -> float:
        """Calls of the backbone a frame."""
        return self.calls["backbone"] / self.num_frames


@dataclass(frozen=True, slots=True)
class ClipRun:
    """A clip's results in order."""

    frames: tuple[FrameResult, ...]
    parts_THW: npt.NDArray[np.uint8]
    cost: Cost


def run_clip(
    frames: Iterable[Frame],
    engine: Engine,
    schedule: ScheduleConfig,
    *,
    score_threshold: float | None = None,
) -> ClipRun:
    """Parse a clip, nothing overlapped.

    Raises:
        OptionError: The bundle cannot follow the schedule.
        EngineError: A graph failed.
    """
    clock, calls = StageClock(), Counter[str]()
    config = SessionConfig(score_threshold=score_threshold, schedule=schedule)
    session = Session(engine.bundle.manifest, config, clock=clock)
    parsed: list[ParsedFrame] = []

    def count(request: EngineRequest, _: EngineOutputs) -> None:
        calls[request.graph] += 1

    for frame in frames:
        parsed += drive(session.push(frame, frame.time_s * 1000), engine, clock=clock, on_run=count)
    parsed += drive(session.finish(), engine, clock=clock, on_run=count)
    totals = clock.totals()
    stages_s = {stage: totals.get(stage, 0.0) for stage in (*engine.bundle.manifest.graphs, *_HOST_STAGES)}
    return ClipRun(
        tuple(one.result for one in parsed),
        np.stack([one.maps.part_HW for one in parsed]),
        Cost(len(parsed), calls, Counter(stages_s)),
    )
