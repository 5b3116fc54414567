"""Interlaced frames as progressive ones, by FFmpeg's filter bwdif.

A frame of an interlaced video holds two fields, taken one after the other. The filter keeps the first field
and interpolates the rows of the second, so what moves is shown at one moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar, cast

import av.error
import av.filter
from av.video.frame import VideoFrame

T = TypeVar("T")

_FILTER: Final = "mode=send_frame:deint=interlaced"


class Deinterlacer(Generic[T]):
    """Passes frames on, each with a value of its own; from the first interlaced one on through the filter.

    The filter keeps each frame until it has seen the next one.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._graph: av.filter.Graph | None = None
        self._shape = (0, 0, "")
        self._waiting: deque[T] = deque()
        self._unfit: set[str] = set()
        """Formats of pixels that the filter does not take."""

    def push(self, frame: VideoFrame, value: T) -> Iterator[tuple[VideoFrame, T]]:
        """Take a frame; yields those that are ready, in order."""
        if self._graph is None and (
            not self._enabled or not frame.interlaced_frame or frame.format.name in self._unfit
        ):
            yield frame, value
            return
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            yield from self.finish()
            try:
                self._graph, self._shape = _open(frame), shape
            except av.error.FFmpegError:
                self._unfit.add(frame.format.name)
                yield frame, value
                return
        self._waiting.append(value)
        self._graph.push(frame)
        yield from self._ready(self._graph)

    def finish(self) -> Iterator[tuple[VideoFrame, T]]:
        """The frames that the filter still keeps."""
        if self._graph is not None:
            graph, self._graph = self._graph, None
            graph.push(None)
            yield from self._ready(graph)
            self._waiting.clear()

    def _ready(self, graph: av.filter.Graph) -> Iterator[tuple[VideoFrame, T]]:
        while self._waiting:
            try:
                frame = cast(VideoFrame, graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield frame, self._waiting.popleft()


def _open(frame: VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    between, sink = graph.add("bwdif", _FILTER), graph.add("buffersink")
    source.link_to(between)
    between.link_to(sink)
    graph.configure()
    return graph
