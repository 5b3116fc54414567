"""Parses one source: a video, an image or a folder of images in, results out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from partstream_core.errors import OptionError
from partstream_core.results import FrameResult, VideoInfo
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.engine import Engine
from partstream_server.media import Frame, MediaLimits, VideoReader, open_video
from partstream_server.offline.frame_pipeline import FramePipeline, ParsedPicture
from partstream_server.offline.selection import Selection
from partstream_server.pipeline.parse_options import ParseOptions, model_info
from partstream_server.pipeline.session import Session, SessionConfig
from partstream_server.pipeline.stage_times import StageClock


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
        schedule, limits = options.schedule_for(engine), limits or MediaLimits()
        motion = schedule.flow is FlowSource.CODEC
        self._reader, options = open_for(source, options, limits, motion=motion, with_skipped=with_skipped)
        self._selection = Selection(options.wanted_parts, options.wanted_people)
        try:
            config = session_config(options, schedule)
            session = Session(engine.bundle.manifest, config, clock=clock, keeps_pixels=with_pixels)
            if with_pixels:
                every = options.every if with_skipped else 1
                num_waiting = _num_waiting(schedule, every, options.max_frames)
                _check_waiting(num_waiting, self._reader.info, limits.max_waiting_bytes)
        except BaseException:
            self._reader.close()
            raise
        frames = first_frames(self._reader, options.max_frames)
        self._pipeline = FramePipeline(
            frames, session, engine, overlapped=overlapped, with_pixels=with_pixels
        )

    @property
    def video(self) -> VideoInfo:
        """The source; its counts are final once all pictures were read."""
        return self._reader.info

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel against its height, as the source is shown."""
        return self._reader.pixel_aspect

    def __iter__(self) -> Iterator[ParsedPicture]:
        for picture in self._pipeline:
            yield self._selection.apply(picture)

    def close(self) -> None:
        """Stop decoding and release the source."""
        self._pipeline.close()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_for(
    source: Path | str | BinaryIO,
    options: ParseOptions,
    limits: MediaLimits,
    *,
    motion: bool = False,
    with_skipped: bool = False,
    first: int = 0,
) -> tuple[VideoReader, ParseOptions]:
    """A reader of the frames that options ask for, and the options with `every` in place of `fps`.

    Args:
        source: A path or a seekable binary file.
        options: Which frames.
        limits: What is accepted.
        motion: Read the motion of blocks, too.
        with_skipped: Read also the frames that `every` passes over.
        first: Read only frames from this index on.

    Raises:
        MediaError: The source cannot be read; the subclass says why.
        OSError: The path cannot be opened.
    """
    reader = open_video(source, limits, motion=motion, stream=options.stream, deinterlace=options.deinterlace)
    options = options.for_rate(reader.info.frame_rate)
    every = 1 if with_skipped else options.every
    reader.read_only(every=every, first=first, start_s=options.start_s, end_s=options.end_s)
    return reader, options


def session_config(options: ParseOptions, schedule: ScheduleConfig) -> SessionConfig:
    """What the session of a file is asked for."""
    return SessionConfig(
        score_threshold=options.score_threshold,
        every=options.every,
        masks=options.masks,
        joints=options.joints,
        schedule=schedule,
        assembly=options.assembly,
    )


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


def first_frames(reader: VideoReader, max_frames: int | None) -> Iterator[Frame]:
    """Frames of a reader up to a number of the source's frames, and no frame decoded beyond it."""
    for frame in reader:
        if max_frames is not None and frame.index >= max_frames:
            return
        yield frame
        if frame.index + 1 == max_frames:
            return
