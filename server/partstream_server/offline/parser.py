"""Parses one source: a video, an image or a folder of images in, results out.

    decode | features (backbone, flow) | heads (detections, masks) | finish (identities, encoding)

Each of the four is on a thread of its own, a few frames ahead of the next; the last is the caller's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from partstream_core.errors import MediaError, OptionError
from partstream_core.results import FrameResult, VideoInfo
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.engine import Engine
from partstream_server.media import Frame, MediaLimits, VideoReader, open_video
from partstream_server.offline.prefetch import Prefetch
from partstream_server.pipeline.features import FrameFeatures
from partstream_server.pipeline.parse_options import ParseOptions, model_info
from partstream_server.pipeline.session import FrameInference, Session, SessionConfig, drive
from partstream_server.pipeline.stage_times import StageClock
from partstream_server.pipeline.values import LabelMaps

T = TypeVar("T")

_DECODED_AHEAD = 3
_AHEAD = 1


@dataclass(frozen=True, slots=True)
class ParsedPicture:
    """A frame of the source and what was found in it."""

    frame: Frame
    result: FrameResult | None
    """None for a frame that was passed over."""
    maps: LabelMaps | None
    """The n-th person of `result.people` is n in them."""


class MediaParser:
    """The parsing of one source; use as a context manager, or call `close`.

    Opening it reads the source up to its first frame, so that a source that cannot be read fails there.
    """

    def __init__(
        self,
        source: Path | str | BinaryIO,
        engine: Engine,
        options: ParseOptions | None = None,
        *,
        limits: MediaLimits | None = None,
        with_skipped: bool = False,
        clock: StageClock | None = None,
        overlapped: bool = True,
        with_pixels: bool = True,
    ) -> None:
        """Open a source.

        Args:
            source: A path or a seekable binary file of a video or image, or the path of a folder of images.
            engine: Shared with other parsers if need be.
            options: What is asked for.
            limits: What is accepted.
            with_skipped: Yield also the frames that `every` passes over.
            clock: Told how long each stage and graph takes.
            overlapped: Look at frames while earlier ones are parsed, where the schedule allows it.
            with_pixels: Whether the pictures yielded have their pixels; without, frames that wait for the end
                of a segment take little memory.

        Raises:
            MediaError: The source cannot be read; the subclass says why.
            OptionError: The bundle cannot follow the schedule, or frames that wait would take too much.
            OSError: The path cannot be opened.
        """
        options = options or ParseOptions()
        self.model = model_info(engine)
        self._engine, self._clock = engine, clock or StageClock()
        manifest = engine.bundle.manifest
        schedule = options.schedule_for(engine)
        config = SessionConfig(
            score_threshold=options.score_threshold,
            every=options.every,
            masks=options.masks,
            joints=options.joints,
            schedule=schedule,
        )
        self._session = Session(manifest, config, clock=self._clock, keeps_pixels=with_pixels)
        self._with_pixels = with_pixels
        limits, every = limits or MediaLimits(), 1 if with_skipped else options.every
        self._reader = open_video(source, limits, every=every, motion=schedule.flow is FlowSource.CODEC)
        if with_pixels:
            num_waiting = _num_waiting(schedule, options.every if with_skipped else 1, options.max_frames)
            try:
                _check_waiting(num_waiting, self._reader.info, limits.max_waiting_bytes)
            except OptionError:
                self._reader.close()
                raise
        frames = _first(self._reader, options.max_frames)
        self._frames = Prefetch(frames, ahead=_DECODED_AHEAD, name="decode")
        self._closing = threading.Event()
        self._stages: list[Prefetch[Any]] = [self._frames]
        self._inferred = self._connect_stages(on_threads=overlapped and self._session.overlaps)

    @property
    def video(self) -> VideoInfo:
        """The source; its counts are final once all pictures were read."""
        return self._reader.info

    def __iter__(self) -> Iterator[ParsedPicture]:
        for inferred in self._inferred:
            if isinstance(inferred, Frame):
                yield ParsedPicture(inferred, None, None)
            else:
                parsed = self._session.finish_frame(inferred)
                yield ParsedPicture(inferred.frame, parsed.result, parsed.maps)

    def _connect_stages(self, *, on_threads: bool) -> Iterable[Frame | FrameInference]:
        """Features and heads of all decoded frames, in order; each stage on a thread of its own if asked."""
        featured = self._compute_features()
        if not on_threads:
            return self._run_heads(featured)
        return self._on_thread(self._run_heads(self._on_thread(featured, "features")), "heads")

    def _on_thread(self, values: Iterable[T], name: str) -> Prefetch[T]:
        stage = Prefetch(values, ahead=_AHEAD, name=name)
        self._stages.append(stage)
        return stage

    def _run_heads(self, featured: Iterable[Frame | FrameFeatures]) -> Iterator[Frame | FrameInference]:
        """Every frame in order: read, or as it is where it is passed over."""
        for one in featured:
            if isinstance(one, Frame):
                yield one
            else:
                yield drive(self._session.run_heads(one), self._engine, clock=self._clock)

    def _compute_features(self) -> Iterator[Frame | FrameFeatures]:
        """Every frame in order: ready to be parsed, or as it is where it is passed over."""
        waiting: deque[Frame | FrameFeatures] = deque()
        failure: MediaError | None = None
        frames = iter(self._frames)
        while True:
            try:
                frame = next(frames, None)
            except MediaError as error:  # the frames before it that wait are answered first
                frame, failure = None, error
            if frame is None:
                break
            waiting.append(frame if self._with_pixels else frame.without_pixels())
            steps = self._session.compute_features(frame, time.monotonic() * 1000)
            yield from self._in_order(waiting, drive(steps, self._engine, clock=self._clock))
        if not self._closing.is_set():
            last = drive(self._session.flush_features(), self._engine, clock=self._clock)
            yield from self._in_order(waiting, last)
        if failure is not None:
            raise failure

    def _in_order(
        self, waiting: deque[Frame | FrameFeatures], many: Sequence[FrameFeatures]
    ) -> Iterator[Frame | FrameFeatures]:
        """Frames in order, up to the first that is to be parsed and has no features yet."""
        ready = {one.frame.index: one for one in many}
        for at, frame in enumerate(waiting):
            if isinstance(frame, Frame) and frame.index in ready:
                waiting[at] = ready[frame.index]
        while waiting and (
            isinstance(waiting[0], FrameFeatures) or not self._session.is_parsed(waiting[0].index)
        ):
            yield waiting.popleft()

    def close(self) -> None:
        """Stop decoding and release the source."""
        self._closing.set()
        for stage in self._stages:
            stage.close()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _num_waiting(schedule: ScheduleConfig, every: int, max_frames: int | None) -> int:
    """The most frames that wait for each other, with those in between that are passed over."""
    if schedule.mode is not ScheduleMode.PAPER:
        return 0
    num_frames = schedule.interval * (1 + schedule.encoding_range) * every
    return num_frames if max_frames is None else min(num_frames, max_frames)


def _check_waiting(num_frames: int, video: VideoInfo, max_bytes: int) -> None:
    """Refuse a schedule whose frames, waiting with their pixels, would take too much memory.

    Raises:
        OptionError: They would.
    """
    num_bytes = num_frames * video.width * video.height * 3
    if num_bytes > max_bytes:
        raise OptionError(
            f"schedule paper would hold {num_frames} frames of {video.width}x{video.height} to draw on, "
            f"{num_bytes / 2**20:.0f} MB, the limit is {max_bytes / 2**20:.0f} MB: ask for a shorter "
            "interval, a smaller `every`, another schedule, or an answer without pictures"
        )


def parse_media(
    source: Path | str | BinaryIO,
    engine: Engine,
    options: ParseOptions | None = None,
    *,
    limits: MediaLimits | None = None,
) -> Generator[FrameResult, None, None]:
    """Results of a source, each as soon as it is ready; closing the generator early stops all work.

    Raises:
        MediaError: The source cannot be read; the subclass says why.
        EngineError: A graph failed.
    """
    with MediaParser(source, engine, options, limits=limits, with_pixels=False) as parser:
        for picture in parser:
            if picture.result is not None:
                yield picture.result


def _first(reader: VideoReader, max_frames: int | None) -> Iterator[Frame]:
    """Frames of a reader up to a number of the source's frames, and no frame decoded beyond it."""
    for frame in reader:
        if max_frames is not None and frame.index >= max_frames:
            return
        yield frame
        if frame.index + 1 == max_frames:
            return
