"""Key-frame decisions of a stream, and the feature of every frame.

One kind for each way to look at time: every frame by itself, frame by frame after the last key frame, and
segments as a whole. Each takes frames and gives out those whose feature is ready.

Source: ATEN (Zhou et al., MM 2018), section 4.4 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from partstream_core.boxes import Box
from partstream_core.errors import OptionError
from partstream_core.joints import JointMaps
from partstream_core.manifest import Manifest
from partstream_core.schedule import (
    FlowSource,
    KeyFrameScheduler,
    Observation,
    ScheduleConfig,
    ScheduleMode,
    Segment,
    segment_plan,
)
from partstream_server.media import BlockMotion, Frame
from partstream_server.pipeline.engine_request import Steps
from partstream_server.pipeline.frame_changes import scene_change, service
from partstream_server.pipeline.host_flow import accumulated_motion
from partstream_server.pipeline.identity_events import TrackEvents
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.propagation import (
    Borrowed,
    KeyFrame,
    Propagation,
    RecentKeys,
    Seen,
    encode_over,
)
from partstream_server.pipeline.values import JointSource

Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """A frame whose people can be read."""

    frame: Frame
    view: View
    feature: Tensor
    key_frame: bool
    joints: JointSource | None = None
    """None where the bundle has no joints or they are not wanted."""


class Features(Protocol):
    """Gives each frame of a stream its feature."""

    observes_people: bool
    """Whether the next frame's feature depends on what `observe_people` is told of the one before."""

    def pass_over(self, frame: Frame) -> None:
        """Learn of a frame that is not parsed."""

    def push(self, frame: Frame, view: View) -> Steps[Sequence[FrameFeatures]]:
        """Take the next frame; the frames that are ready now, in order."""
        ...

    def finish(self) -> Steps[Sequence[FrameFeatures]]:
        """The frames that waited for others which will not come."""
        ...

    def snapshot(self) -> Mapping[str, Any] | None:
        """State of the schedule without features, as JSON values; None if it has none."""

    def observe_people(self, people_hw: npt.NDArray[np.bool_], boxes: Mapping[int, Box]) -> None:
        """Learn where people are in the frame that was read last, and the boxes of those with an identity."""
        ...


def make_features(
    manifest: Manifest,
    schedule: ScheduleConfig,
    *,
    resume: Mapping[str, Any] | None = None,
    joints: bool = True,
) -> Features:
    """The features of one stream.

    Args:
        manifest: Of the bundle.
        schedule: Which frames are key frames.
        resume: What another stream's features had in their `snapshot`.
        joints: Whether joint maps are wanted, where the bundle has them.

    Raises:
        OptionError: The bundle cannot follow the schedule.
        ValueError: The snapshot is damaged.
    """
    if schedule.mode is ScheduleMode.EVERY_FRAME:
        return SingleFeatures(Propagation(manifest, joints=joints))
    kind = manifest.capabilities.temporal
    if kind == "none":
        raise OptionError(
            f"the bundle {manifest.name} takes every frame by itself; it cannot follow {schedule.mode}"
        )
    if schedule.flow is FlowSource.CODEC and kind != "recurrent":
        raise OptionError(
            f"flow codec leads to the last key frame alone; the bundle {manifest.name} needs others, too"
        )
    propagation = Propagation(manifest, schedule.flow, joints=joints)
    if schedule.mode is ScheduleMode.PAPER:
        return SegmentFeatures(propagation, schedule)
    return OnlineFeatures(propagation, schedule, resume)


def _source(maps: JointMaps | None, borrowed: Borrowed | None = None) -> JointSource | None:
    """Inputs of decoding the joints of a key frame and of the frames propagated from it."""
    if maps is None:
        return None
    return JointSource(maps, None if borrowed is None else borrowed.flow_B2hw[0])


class SingleFeatures:
    """Every frame by itself."""

    observes_people = False

    def __init__(self, propagation: Propagation) -> None:
        self._propagation = propagation

    def pass_over(self, frame: Frame) -> None:
        """Nothing is learned from it."""

    def push(self, frame: Frame, view: View) -> Steps[Sequence[FrameFeatures]]:
        """The frame with the backbone's feature."""
        extracted = yield from self._propagation.backbone(view)
        return [
            FrameFeatures(frame, view, extracted.feature, key_frame=True, joints=_source(extracted.joints))
        ]

    def finish(self) -> Steps[Sequence[FrameFeatures]]:
        """None: no frame waits."""
        yield from ()
        return []

    def snapshot(self) -> None:
        """Nothing is remembered beside features."""

    def observe_people(self, people_hw: npt.NDArray[np.bool_], boxes: Mapping[int, Box]) -> None:
        """Nothing is learned from it."""


class OnlineFeatures:
    """Frame by frame: a frame is a key frame, or borrows from the last one."""

    def __init__(
        self,
        propagation: Propagation,
        schedule: ScheduleConfig,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        self._propagation, self._range = propagation, schedule.encoding_range
        self._scheduler = (
            KeyFrameScheduler(schedule) if resume is None else KeyFrameScheduler.restored(schedule, resume)
        )
        self.observes_people = schedule.mode is ScheduleMode.ADAPTIVE
        self._keys = RecentKeys(propagation, schedule)
        self._people_hw = np.zeros((1, 1), bool)
        self._events = TrackEvents()
        self._since_key: BlockMotion | None = None
        self._at_key = True
        self._is_unfinished = False

    def pass_over(self, frame: Frame) -> None:
        """Lead the source's motion on."""
        self._since_key = accumulated_motion(self._since_key, frame.motion, first=self._at_key)
        self._at_key = False

    def push(self, frame: Frame, view: View) -> Steps[Sequence[FrameFeatures]]:
        """The frame, ready at once.

        Where the engine failed at the frame before, its key frame may be missing: nothing is borrowed then,
        and this frame is a key frame.
        """
        self.pass_over(frame)
        if self._is_unfinished:
            self._keys.start_over()
        self._is_unfinished = True
        if not self._scheduler.needs_observation and self._keys.cut_before(view):
            self._keys.start_over()  # in adaptive mode the scheduler sees the cut, and its budget counts
        if self._keys.empty:
            self._scheduler.forget_key()
        seen = Seen(view, self._since_key)
        borrowed, observation = None, None
        if self._scheduler.needs_observation:
            borrowed = yield from self._keys.borrow(seen)
            observation = self._observe(view, borrowed)
        decision = self._scheduler.decide(frame.index, frame.time_s, observation)
        if decision.starts_over:
            self._keys.start_over()
        self._at_key = decision.key_frame
        if decision.key_frame:
            feature = yield from self._keys.add(seen, borrowed)
            joints = _source(self._keys.last.joints)
        else:
            borrowed = borrowed or (yield from self._keys.borrow(seen))
            feature, joints = borrowed.feature, _source(self._keys.last.joints, borrowed)
        self._is_unfinished = False
        return [FrameFeatures(frame, view, feature, decision.key_frame, joints)]

    def _observe(self, view: View, borrowed: Borrowed) -> Observation:
        """How well the last key frame serves a frame."""
        key = self._keys.last.seen.view
        served = service(view.quarter_hw3, key.quarter_hw3, borrowed.flow_B2hw[0], self._people_hw)
        return Observation(
            warp_error=served.warp_error,
            outside=served.outside,
            scale_deviation=borrowed.scale_deviation,
            scene_change=scene_change(view.scene, key.scene),
            births=self._events.births,
            losses=self._events.losses,
            conflicts=self._events.conflicts,
        )

    def finish(self) -> Steps[Sequence[FrameFeatures]]:
        """None: no frame waits."""
        yield from ()
        return []

    def snapshot(self) -> Mapping[str, Any]:
        """State of the scheduler."""
        return self._scheduler.snapshot()

    def observe_people(self, people_hw: npt.NDArray[np.bool_], boxes: Mapping[int, Box]) -> None:
        """Remember it for the next observation."""
        self._people_hw = people_hw
        self._events = self._events.then(boxes)


class SegmentFeatures:
    """Segments as a whole: their median is the key frame, and the others borrow from it.

    The paper's videos have no cuts. Here nothing is borrowed over one: a frame of another scene than its key
    frame's is computed by itself, and key frames of other scenes are not encoded with.
    """

    observes_people = False

    def __init__(self, propagation: Propagation, schedule: ScheduleConfig) -> None:
        recurrent = propagation.kind == "recurrent"
        self._propagation, self._encodes = propagation, schedule.encodes
        self._cut = schedule.triggers.scene_change
        self._plan = segment_plan(schedule if not recurrent else replace(schedule, encoding_range=0))
        self._range = self._plan.encoding_range
        self._recent = RecentKeys(propagation, schedule) if recurrent else None
        self._waiting: dict[int, tuple[Frame, View]] = {}
        self._keys: dict[int, KeyFrame] = {}

    def pass_over(self, frame: Frame) -> None:
        """Nothing is learned from it."""

    def push(self, frame: Frame, view: View) -> Steps[Sequence[FrameFeatures]]:
        """All frames of the segments that the frame makes whole."""
        self._waiting[frame.index] = (frame, view)
        return (yield from self._compute(self._plan.push(frame.index)))

    def finish(self) -> Steps[Sequence[FrameFeatures]]:
        """All frames that are left."""
        return (yield from self._compute(self._plan.finish()))

    def snapshot(self) -> None:
        """Nothing is remembered beside features."""

    def observe_people(self, people_hw: npt.NDArray[np.bool_], boxes: Mapping[int, Box]) -> None:
        """Nothing is learned from it."""

    def _compute(self, segments: Sequence[Segment]) -> Steps[Sequence[FrameFeatures]]:
        ready: list[FrameFeatures] = []
        for segment in segments:
            key = yield from self._encode(segment)
            for index in segment.frames:
                frame, view = self._waiting.pop(index)
                feature, is_key, joints = key.encoded, index == segment.key, _source(key.joints)
                if not is_key and self._is_cut(view, key):
                    extracted = yield from self._propagation.backbone(view)
                    feature, is_key, joints = extracted.feature, True, _source(extracted.joints)
                elif not is_key:
                    borrowed = yield from self._propagation.borrow(Seen(view), key.seen, key.encoded)
                    feature, joints = borrowed.feature, _source(key.joints, borrowed)
                ready.append(FrameFeatures(frame, view, feature, is_key, joints))
        return ready

    def _is_cut(self, view: View, key: KeyFrame) -> bool:
        """Whether a frame is of another scene than a key frame, so that there is nothing to borrow."""
        return scene_change(view.scene, key.seen.view.scene) >= self._cut

    def _encode(self, segment: Segment) -> Steps[KeyFrame]:
        """The key frame of a segment, encoded."""
        if self._recent is not None:
            yield from self._recent.add(Seen(self._waiting[segment.key][1]))
            return self._recent.last
        for index in sorted({*segment.neighbours, segment.key}):
            if index not in self._keys:
                view = self._waiting[index][1]
                found = yield from self._propagation.backbone(view)
                self._keys[index] = KeyFrame(Seen(view), found.feature, found.feature, found.joints)
        own = self._keys[segment.key]
        near = [self._keys[index] for index in segment.neighbours]
        neighbours = [key for key in near if not self._is_cut(own.seen.view, key)]
        encoded = own.raw
        if self._encodes:
            encoded = yield from encode_over(self._propagation, own.seen, own.raw, neighbours)
        # of former keys, no later segment asks for more than the last `encoding_range`
        kept = sorted(self._keys)[-(2 * self._range + 1) :]
        self._keys[segment.key] = replace(own, joints=None)
        self._keys = {index: self._keys[index] for index in kept}
        return replace(own, encoded=encoded)
