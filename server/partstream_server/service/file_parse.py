"""The parsing of one upload, with its frames counted and its stages timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from partstream_core.results import FrameResult, ModelInfo, VideoInfo
from partstream_server.engine import Engine
from partstream_server.media import Frame, Image, MediaLimits
from partstream_server.offline.parser import MediaParser
from partstream_server.offline.rendering import RenderOptions
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.pipeline.stage_times import StageClock
from partstream_server.pipeline.values import FloatArray, LabelMaps
from partstream_server.security.access import Account
from partstream_server.service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Parsed:
    """A frame and its people: found in it or, where `every` passed over it, in the last one before it."""

    frame: Frame
    result: FrameResult
    maps: LabelMaps
    embeddings: tuple[FloatArray | None, ...] = ()
    """Of the people of the frame, before a selection left any out."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to parse with its options; nothing is open yet."""

    source: Path
    engine: Engine
    options: ParseOptions
    limits: MediaLimits
    metrics: Metrics
    account: Account
    render: RenderOptions = field(default_factory=RenderOptions)
    """What a rendered video shows."""
    backdrop: Image | None = None
    """RGB picture behind people, for a rendered video that shows another background."""

    @contextmanager
    def open(self, *, with_skipped: bool = False, with_pixels: bool = False) -> Iterator[OpenJob]:
        """Open the source.

        Args:
            with_skipped: Yield also the frames that `every` passes over.
            with_pixels: Yield frames that can be drawn on.

        Raises:
            MediaError: The source cannot be read; the subclass says why.
        """
        clock = StageClock()
        with MediaParser(
            self.source,
            self.engine,
            self.options,
            limits=self.limits,
            with_skipped=with_skipped,
            clock=clock,
            with_pixels=with_pixels,
        ) as parser:
            yield OpenJob(parser, clock, self.metrics, self.account)


class OpenJob:
    """The frames of a job, once, in order."""

    def __init__(self, parser: MediaParser, clock: StageClock, metrics: Metrics, account: Account) -> None:
        self._parser = parser
        self._metrics = metrics
        self._account = account
        self._told: dict[str, float] = {}
        self.clock = clock
        """For stages that come after parsing."""

    @property
    def video(self) -> VideoInfo:
        """The source; its counts are final after the last frame."""
        return self._parser.video

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel against its height, as the source is shown."""
        return self._parser.pixel_aspect

    @property
    def model(self) -> ModelInfo:
        """Bundle and provider that parse the file."""
        return self._parser.model

    def __iter__(self) -> Iterator[Parsed]:
        last: Parsed | None = None
        for picture in self._parser:
            if picture.result is not None and picture.maps is not None:
                last = Parsed(picture.frame, picture.result, picture.maps, picture.embeddings)
                self._account.use_frame()
                self._metrics.frames.inc()
                yield last
            elif last is not None:
                yield Parsed(picture.frame, last.result, last.maps)
            self._tell_times()

    def _tell_times(self) -> None:
        """Pass on what each stage took since the last frame."""
        now = self.clock.totals()
        for stage, total_s in now.items():
            if (seconds := total_s - self._told.get(stage, 0.0)) > 0:
                self._metrics.stage_seconds.labels(stage).observe(seconds)
        self._told = now
