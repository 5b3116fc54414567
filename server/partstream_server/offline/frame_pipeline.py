"""The stages of a file's frames, each on a thread of its own, a few frames ahead of the next.

    frames | features (backbone, flow) | heads (detections, masks) | finish (identities, encoding)

The last is the caller's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from partstream_core.errors import MediaError
from partstream_core.results import FrameResult
from partstream_server.engine import Engine
from partstream_server.media import Frame
from partstream_server.offline.prefetch import Prefetch
from partstream_server.pipeline.features import FrameFeatures
from partstream_server.pipeline.session import FrameInference, Session, drive
from partstream_server.pipeline.values import FloatArray, LabelMaps

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
    embeddings: tuple[FloatArray | None, ...] = ()
    """Of the people whom `result` had before a selection, in their order."""


class FramePipeline:
    """Parses frames in order; use as a context manager, or call `close`."""

    def __init__(
        self,
        frames: Iterable[Frame],
        session: Session,
        engine: Engine,
        *,
        overlapped: bool = True,
        with_pixels: bool = True,
    ) -> None:
        """Begin to read ahead.

        Args:
            frames: Read by a thread until they end or the pipeline is closed.
            session: Of the stream; not used by anybody else meanwhile.
            engine: Shared with other pipelines if need be.
            overlapped: Compute features of frames while earlier ones are parsed, if the schedule allows it.
            with_pixels: Whether the pictures yielded have their pixels.
        """
        self._session, self._engine, self._with_pixels = session, engine, with_pixels
        self._frames = Prefetch(frames, ahead=_DECODED_AHEAD, name="decode")
        self._closing = threading.Event()
        self._stages: list[Prefetch[Any]] = [self._frames]
        self._inferred: Iterable[Frame | FrameInference] = self._run_heads(self._compute_features())
        if overlapped and session.overlaps:
            self._inferred = self._on_thread(
                self._run_heads(self._on_thread(self._compute_features(), "features")), "heads"
            )

    def __iter__(self) -> Iterator[ParsedPicture]:
        for inferred in self._inferred:
            if isinstance(inferred, Frame):
                yield ParsedPicture(inferred, None, None)
            else:
                parsed = self._session.finish_frame(inferred)
                yield ParsedPicture(inferred.frame, parsed.result, parsed.maps, parsed.embeddings)

    def _on_thread(self, values: Iterable[T], name: str) -> Prefetch[T]:
        stage = Prefetch(values, ahead=_AHEAD, name=name)
        self._stages.append(stage)
        return stage

    def _run_heads(self, featured: Iterable[Frame | FrameFeatures]) -> Iterator[Frame | FrameInference]:
        """Every frame in order: with what the heads say, or as it is where it is passed over."""
        for one in featured:
            if isinstance(one, Frame):
                yield one
            else:
                yield drive(self._session.run_heads(one), self._engine, clock=self._session.clock)

    def _compute_features(self) -> Iterator[Frame | FrameFeatures]:
        """Every frame in order: with its features, or as it is where it is passed over."""
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
            yield from self._in_order(waiting, drive(steps, self._engine, clock=self._session.clock))
        if not self._closing.is_set():
            last = drive(self._session.flush_features(), self._engine, clock=self._session.clock)
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
        """Stop reading frames, and end the threads."""
        self._closing.set()
        for stage in self._stages:
            stage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
