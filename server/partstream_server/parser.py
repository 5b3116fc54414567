"""Media in, results out: a thread decodes ahead while the engine works on earlier frames."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import BaseModel, ConfigDict, Field

from partstream_core.results import FrameResult, ModelInfo, VideoInfo
from partstream_core.schedule import ScheduleMode
from partstream_server.decode import Frame, MediaLimits, VideoReader, open_video
from partstream_server.encode import MaskForm
from partstream_server.engine import Engine
from partstream_server.features import choose_schedule
from partstream_server.prefetch import Prefetch
from partstream_server.session import Session, SessionConfig, drive
from partstream_server.timing import StageClock
from partstream_server.values import LabelMaps, ParsedFrame

__all__ = ["MaskForm", "MediaParser", "ParseOptions", "ParsedPicture", "model_info", "parse_media"]

_DECODED_AHEAD = 4
MAX_INTERVAL = 100
"""Frames a segment at most: in paper mode they wait in memory for each other."""


class ParseOptions(BaseModel):
    """What a caller may ask of the parsing of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_threshold: float | None = Field(default=None, ge=0, le=1)
    """Least score of a person; None takes the bundle's."""
    every: int = Field(default=1, ge=1)
    """Parse only every so many frames of the source."""
    max_frames: int | None = Field(default=None, ge=1)
    """Stop after so many frames of the source, parsed or passed over."""
    masks: MaskForm = MaskForm.RLE
    schedule: ScheduleMode | None = None
    """Which frames are key frames; None leaves it to the bundle."""
    interval: int | None = Field(default=None, ge=1, le=MAX_INTERVAL)
    """A key frame at least every so many frames; None leaves it to the bundle."""


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
    ) -> None:
        """Open a source.

        Args:
            source: A path or a seekable binary file of a video or image, or the path of a folder of images.
            engine: Shared with other parsers if need be.
            options: What is asked for.
            limits: What is accepted.
            with_skipped: Yield also the frames that `every` passes over.
            clock: Told how long each stage and graph takes.

        Raises:
            MediaError: The source cannot be read; the subclass says why.
            OptionError: The bundle cannot follow the schedule.
            OSError: The path cannot be opened.
        """
        options = options or ParseOptions()
        self.model = model_info(engine)
        self._engine, self._clock = engine, clock or StageClock()
        manifest = engine.bundle.manifest
        config = SessionConfig(
            score_threshold=options.score_threshold,
            every=options.every,
            masks=options.masks,
            schedule=choose_schedule(manifest, mode=options.schedule, interval=options.interval, live=False),
        )
        self._session = Session(manifest, config, clock=self._clock)
        self._reader = open_video(source, limits, every=1 if with_skipped else options.every)
        self._frames = Prefetch(_first(self._reader, options.max_frames), ahead=_DECODED_AHEAD)

    @property
    def video(self) -> VideoInfo:
        """The source; its counts are final once all pictures were read."""
        return self._reader.info

    def __iter__(self) -> Iterator[ParsedPicture]:
        waiting: dict[int, Frame] = {}
        for frame in self._frames:
            if not self._session.takes(frame.index):
                yield ParsedPicture(frame, None, None)
                continue
            waiting[frame.index] = frame
            steps = self._session.push(frame, time.monotonic() * 1000)
            yield from _matched(drive(steps, self._engine, clock=self._clock), waiting)
        yield from _matched(drive(self._session.finish(), self._engine, clock=self._clock), waiting)

    def close(self) -> None:
        """Stop decoding and release the source."""
        self._frames.close()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    with MediaParser(source, engine, options, limits=limits) as parser:
        for picture in parser:
            if picture.result is not None:
                yield picture.result


def model_info(engine: Engine) -> ModelInfo:
    """The bundle and the provider that results come from."""
    manifest = engine.bundle.manifest
    return ModelInfo(manifest.name, manifest.version, engine.provider, manifest.capabilities.parts)


def _first(reader: VideoReader, max_frames: int | None) -> Iterator[Frame]:
    """Frames of a reader up to a number of the source's frames, and no frame decoded beyond it."""
    for frame in reader:
        if max_frames is not None and frame.index >= max_frames:
            return
        yield frame
        if frame.index + 1 == max_frames:
            return


def _matched(parsed: Sequence[ParsedFrame], waiting: dict[int, Frame]) -> Iterator[ParsedPicture]:
    for one in parsed:
        yield ParsedPicture(waiting.pop(one.result.index), one.result, one.maps)
