"""Session of one stream: takes frames, yields engine requests, returns results.

    frame -> schedule -> infer -> assemble -> track -> encode -> result

Frames are answered at once, except in `paper` mode: there a segment is answered when all of it has come.

`push` does all of that. For callers that overlap stages, `compute_features` makes features, `run_heads` runs
the heads on them, and `finish_frame` does the rest.

A session does no I/O and knows no engine. `push` and `finish` are generators that yield an `EngineRequest`,
are sent its outputs, and return the results that are ready; `drive` carries one out on an engine. Everything
that a stream remembers is in its session, so streams cannot leak identities into each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from partstream_core import fusion
from partstream_core.assembly_config import AssemblyKind
from partstream_core.labels import PARTS
from partstream_core.manifest import Manifest
from partstream_core.results import FrameResult
from partstream_core.schedule import ScheduleConfig, ScheduleMode
from partstream_core.tracker import Tracker, TrackerConfig
from partstream_core.tracker.config import FRAME_S
from partstream_core.tracker.snapshot import restored, snapshot
from partstream_server.engine import Engine
from partstream_server.media import Frame
from partstream_server.pipeline.assembly import MAX_PEOPLE, give_away, weigh
from partstream_server.pipeline.crf_assembly import FormerDecision, decide
from partstream_server.pipeline.driver import drive, timed
from partstream_server.pipeline.encoding import MaskForm, encode_people
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest, Steps
from partstream_server.pipeline.features import FrameFeatures, make_features
from partstream_server.pipeline.frame_changes import SceneView, scene_change
from partstream_server.pipeline.inference import InferConfig, View, infer, run_heads
from partstream_server.pipeline.joints import with_joints
from partstream_server.pipeline.likely_parts import likely_parts
from partstream_server.pipeline.propagation import Propagation, RecentKeys, Seen
from partstream_server.pipeline.stage_times import StageClock
from partstream_server.pipeline.tracking import track
from partstream_server.pipeline.values import Assembly, Inference, JointSource, ParsedFrame

__all__ = [
    "EngineOutputs",
    "EngineRequest",
    "ParsedFrame",
    "Session",
    "SessionConfig",
    "SessionSnapshot",
    "Steps",
    "drive",
    "warm_up",
]

_MIN_ELAPSED_S = 1e-3
"""Frames whose times do not grow are taken to be this far apart."""
MIN_PARTS = 0.4
"""Share of a person's mask on which the parsing must see parts; dogs and pillows stay below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Options of a stream."""

    score_threshold: float | None = None
    """Least score of a person; None takes the bundle's."""
    every: int = 1
    """Parse only frames whose index is a multiple of this."""
    masks: MaskForm = MaskForm.RLE
    joints: bool = True
    """Whether results hold people's joints, where the bundle finds them."""
    schedule: ScheduleConfig | None = None
    """Which frames are key frames; None takes the bundle's schedule."""
    assembly: AssemblyKind | None = None
    """Rule by which pixels get people; None takes the bundle's."""
    tracker: TrackerConfig = field(default_factory=TrackerConfig)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold must be between 0 and 1, got {self.score_threshold}")


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """State from which another session continues with the same identities; holds no features."""

    tracker: bytes
    last_index: int
    """Of the last frame that was parsed."""
    last_time_s: float
    """Of the same frame."""
    schedule: Mapping[str, Any] | None = None
    """State of the schedule as JSON values: the rest of a budget of key frames."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameInference:
    """A frame and what the heads say of it."""

    frame: Frame
    key_frame: bool
    inference: Inference
    view: View
    joints: JointSource | None = None
    """Inputs of decoding joints; None if the stream has none."""


class Session:
    """The state of one stream."""

    def __init__(
        self,
        manifest: Manifest,
        config: SessionConfig,
        *,
        clock: StageClock | None = None,
        resume: SessionSnapshot | None = None,
        paused_ms: float = 0.0,
        keeps_pixels: bool = False,
    ) -> None:
        """Begin a stream, or go on with one.

        Args:
            manifest: Of the bundle that the engine runs.
            config: What the stream asks for.
            clock: Told how long each stage takes.
            resume: Where an earlier session with a bundle of the same graphs stopped.
            paused_ms: Time since then.
            keeps_pixels: Whether the frames of `FrameInference` still have their pixels, to be drawn on;
                frames that wait for a segment's end hold much memory then.

        Raises:
            ValueError: The snapshot is damaged.
            OptionError: The bundle cannot follow the schedule.
        """
        self._manifest = manifest
        self._config = config
        self.clock = clock or StageClock()
        """Sums what each stage takes."""
        thresholds = manifest.thresholds
        score = thresholds.score if config.score_threshold is None else config.score_threshold
        self._infer_config = InferConfig(
            score_threshold=score,
            nms_threshold=thresholds.nms,
            max_people=min(MAX_PEOPLE, manifest.top_k),
        )
        sure = min(score, config.tracker.new_track_score)
        tracker_config = replace(config.tracker, new_track_score=sure)
        self._tracker = restored(tracker_config, resume.tracker) if resume else Tracker(tracker_config)
        self._resume, self._paused_ms, self._keeps_pixels = resume, paused_ms, keeps_pixels
        self._features = make_features(
            manifest,
            config.schedule or manifest.schedule,
            resume=resume.schedule if resume else None,
            joints=config.joints,
        )
        self._part_labels = [0, *(PARTS.index(part) for part in manifest.capabilities.parts)]
        self._assembly = config.assembly or manifest.assembly.kind
        self._former: FormerDecision | None = None
        self._last_pushed = -1
        self._scene_change = (config.schedule or manifest.schedule).triggers.scene_change
        self._last_index: int | None = None
        self._last_time_s = 0.0
        self._last_scene: SceneView | None = None
        self._last_ms: float | None = None

    def snapshot(self, *, max_bytes: int) -> SessionSnapshot | None:
        """Snapshot from which another session continues; None before the first frame."""
        if self._last_index is None:
            return self._resume
        schedule = self._features.snapshot()
        tracker = snapshot(self._tracker, max_bytes=max_bytes)
        return SessionSnapshot(tracker, self._last_index, self._last_time_s, schedule)

    def is_parsed(self, index: int) -> bool:
        """Whether a frame is parsed at all, or passed over because of `every`."""
        return index % self._config.every == 0

    @property
    def overlaps(self) -> bool:
        """Whether `compute_features` may run ahead of `finish_frame`: no result changes the schedule."""
        return not self._features.observes_people

    def push(self, frame: Frame, now_ms: float) -> Steps[Sequence[ParsedFrame]]:
        """The results that this frame makes ready; see `compute_features`."""
        ready = yield from self.compute_features(frame, now_ms)
        return (yield from self._parse_all(ready))

    def finish(self) -> Steps[Sequence[ParsedFrame]]:
        """The results that were waiting for frames which will not come."""
        ready = yield from self.flush_features()
        return (yield from self._parse_all(ready))

    def compute_features(self, frame: Frame, now_ms: float) -> Steps[Sequence[FrameFeatures]]:
        """The frames that this one makes ready to be parsed, with their features; none for one passed over.

        Args:
            frame: The stream's next; indices must grow, and may leave gaps.
            now_ms: The caller's clock, which must not run backwards.

        Raises:
            ValueError: The index or the clock did not advance.
        """
        if self._last_ms is not None and now_ms < self._last_ms:
            raise ValueError(f"the clock ran back from {self._last_ms} to {now_ms} ms")
        if frame.index <= self._last_pushed:
            raise ValueError(f"frame {frame.index} came after frame {self._last_pushed}")
        self._last_ms, self._last_pushed = now_ms, frame.index
        if not self.is_parsed(frame.index):
            self._features.pass_over(frame)
            return []
        with self.clock.stage("infer"):
            view = View(frame.image, self._manifest, pixel_aspect=frame.pixel_aspect)
        kept = frame if self._keeps_pixels else frame.without_pixels()
        return (yield from timed(self._features.push(kept, view), self.clock, "infer"))

    def flush_features(self) -> Steps[Sequence[FrameFeatures]]:
        """The frames that were waiting for others which will not come."""
        return (yield from timed(self._features.finish(), self.clock, "infer"))

    def _parse_all(self, many: Sequence[FrameFeatures]) -> Steps[Sequence[ParsedFrame]]:
        parsed: list[ParsedFrame] = []
        for ready in many:
            one = yield from self.parse(ready)
            parsed.append(one)
        return parsed

    def _advance(self, frame: Frame) -> float:
        """Move on to a frame, and return the seconds since the last one.

        Indices may be anything that grows, such as milliseconds; only times tell how long it was.
        """
        is_first, last_time_s = self._last_index is None, self._last_time_s
        self._last_index, self._last_time_s = frame.index, frame.time_s
        if not is_first:
            return max(frame.time_s - last_time_s, _MIN_ELAPSED_S)
        if self._resume is None:
            return FRAME_S
        # the stream's own clock where it went on, or else how long it was away
        elapsed_s = frame.time_s - self._resume.last_time_s
        return max(elapsed_s if elapsed_s > 0 else self._paused_ms / 1000, _MIN_ELAPSED_S)

    def _starts_scene(self, scene: SceneView) -> bool:
        """Whether the scene was cut before a frame; its scene is remembered for the next one."""
        last, self._last_scene = self._last_scene, scene
        return last is not None and scene_change(scene, last) >= self._scene_change

    def parse(self, ready: FrameFeatures) -> Steps[ParsedFrame]:
        """Result of a frame; the stream's frames come in order, each once."""
        read = yield from self.run_heads(ready)
        return self.finish_frame(read)

    def run_heads(self, ready: FrameFeatures) -> Steps[FrameInference]:
        """Run the detection and parsing heads on a frame; the stream's state stays as it is."""
        steps = run_heads(ready.view, ready.feature, self._manifest, self._infer_config)
        inference = yield from timed(steps, self.clock, "infer")
        ready.view.release_tensors()
        joints = None if ready.joints is None else ready.joints.within(ready.view.content_of)
        return FrameInference(ready.frame, ready.key_frame, inference, ready.view, joints)

    def finish_frame(self, read: FrameInference) -> ParsedFrame:
        """Assemble, track and encode the people of a frame; the stream's frames come in order, each once."""
        clock, frame, inference = self.clock, read.frame, read.inference
        elapsed_s, scene_cut = self._advance(frame), self._starts_scene(read.view.scene)
        with clock.stage("assemble"):
            assembly = self._assemble(read, scene_cut=scene_cut)
        with clock.stage("track"):
            assembly, identities = track(self._tracker, assembly, elapsed_s=elapsed_s, scene_cut=scene_cut)
        if read.joints is not None:
            with clock.stage("assemble"):
                height, width = frame.image.shape[:2]
                assembly = with_joints(assembly, read.joints, width=width, height=height)
        with clock.stage("encode"):
            people = encode_people(assembly.people, identities, assembly.maps, self._config.masks)
        if self._features.observes_people:
            boxes = {
                identity: person.box_xyxy
                for person, identity in zip(assembly.people, identities, strict=True)
            }
            people_hw = np.any(inference.masks_Nhw > self._manifest.thresholds.mask, axis=0)
            self._features.observe_people(read.view.over_padding(people_hw), boxes)
        result = FrameResult(frame.index, frame.time_s, read.key_frame, people)
        embeddings = tuple(person.embedding_D for person in assembly.people)
        likely_hw = likely_parts(inference.part_probabilities_Phw, self._part_labels)
        return ParsedFrame(result, replace(assembly.maps, likely_hw=likely_hw), embeddings)

    def _assemble(self, read: FrameInference, *, scene_cut: bool) -> Assembly:
        """Give the pixels of a frame to its people, by the rule that the stream asks for."""
        height, width = read.frame.image.shape[:2]
        threshold = self._manifest.thresholds.mask
        evidence = weigh(read.inference, mask_threshold=threshold, min_parts=MIN_PARTS)
        min_share = fusion.MIN_SHARE
        if self._assembly is AssemblyKind.CRF:
            settings = self._manifest.assembly.crf
            decision = decide(
                evidence,
                read.view.picture(evidence.masks_Nhw.shape[1:]),
                width=width,
                height=height,
                mask_threshold=threshold,
                settings=settings,
                grey_hw=read.view.content_of(read.view.half_grey_hw) if settings.temporal else None,
                former=None if scene_cut else self._former,
            )
            evidence, self._former = decision.evidence, decision.former
            min_share = 0.0  # doubles are gone
        return give_away(
            evidence,
            width=width,
            height=height,
            part_labels=self._part_labels,
            mask_threshold=threshold,
            min_share=min_share,
        )


def warm_up(engine: Engine, *, width: int = 1280, height: int = 720) -> None:
    """Run every graph once for sources of this shape, so that their first result waits for no compiler."""
    manifest = engine.bundle.manifest
    everything = InferConfig(score_threshold=0.0, nms_threshold=manifest.thresholds.nms, max_people=1)
    blank = np.zeros((height, width, 3), np.uint8)
    drive(infer(blank, manifest, everything), engine)
    if manifest.capabilities.temporal != "none":
        drive(_borrow_once(View(blank, manifest), Propagation(manifest)), engine)


def _borrow_once(view: View, propagation: Propagation) -> Steps[None]:
    """Run the graphs over time: a key frame that is encoded with an equal one."""
    keys = RecentKeys(propagation, ScheduleConfig(mode=ScheduleMode.CAUSAL, encoding_range=1))
    yield from keys.add(Seen(view))
    yield from keys.add(Seen(view))
