"""An open source as decoded frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import SplitResult

import av
import av.error
from av.container import InputContainer

from partstream_core.errors import FrameTooLargeError, PartstreamError
from partstream_server.media import MediaLimits
from partstream_server.media.container import limit_pixels
from partstream_server.media.frame import Image
from partstream_server.media.rotation import RgbConverter, TurnReader
from partstream_server.sources.address import PORTS, READ_TIMEOUT_S, Rules, check_url, connect, file_of
from partstream_server.sources.errors import SourceFailedError, SourceForbiddenError
from partstream_server.sources.http import HttpBody
from partstream_server.sources.relay import Relay

_TEXT_FORMATS: Final = frozenset({"tty", "concat", "hls", "dash", "sdp", "lrc"})


class Line(Protocol):
    """Connection that delivers a source's bytes."""

    def cut(self) -> None:
        """Close the connection; pending reads return no bytes."""

    def close(self) -> None:
        """Release it."""


class Capture:
    """Frames of one connection to a source; use as a context manager."""

    def __init__(
        self, url: str, rules: Rules, limits: MediaLimits, on_line: Callable[[Line], None] = lambda _: None
    ) -> None:
        """Connect, and read as far as the first headers.

        Args:
            url: Of the source.
            rules: Where it may be.
            limits: Of its pictures; a length is not looked at.
            on_line: Called with the connection; its `cut` ends every pending read.

        Raises:
            SourceForbiddenError: The source may not be pulled.
            SourceFailedError: It cannot be reached or read.
            FrameTooLargeError: Its headers declare larger pictures than the limits allow.
        """
        parts = check_url(url, rules)
        self._limits, self._on_line = limits, on_line
        self._line: Line | None = None
        try:
            self._container = self._open(parts, url, rules)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._close_line()
            raise self._refusal() or SourceFailedError(f"the source cannot be read: {error}") from None
        except PartstreamError:
            self._close_line()
            raise
        if self._container.format.name in _TEXT_FORMATS or not self._container.streams.video:
            name = self._container.format.name
            self.close()
            raise SourceFailedError(f"the source holds no video ({name})")
        try:
            limit_pixels(self._container.streams.video[0], limits)
        except FrameTooLargeError:
            self.close()
            raise
        self.is_finite = parts.scheme == "file" or bool(self._container.duration)
        """Whether it ends by itself, rather than breaks off."""

    def _open(self, parts: SplitResult, url: str, rules: Rules) -> InputContainer:
        if parts.scheme == "file":
            path: Path = file_of(parts, rules)
            return av.open(str(path), "r", container_options={"protocol_whitelist": "file"})
        if parts.scheme == "rtsp":
            host = parts.hostname or ""
            relay = Relay(connect(host, parts.port or PORTS["rtsp"], rules))
            self._use(relay)
            login, at, _ = parts.netloc.rpartition("@")
            inside = parts._replace(netloc=f"{login}{at}127.0.0.1:{relay.port}").geturl()
            options = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,tcp"}
            return av.open(inside, "r", container_options=options, timeout=READ_TIMEOUT_S)
        body = HttpBody(url, rules)
        self._use(body)
        return av.open(body, "r", container_options={"protocol_whitelist": "pipe"})

    def _refusal(self) -> PartstreamError | None:
        """The error that the relay found in the camera's bytes."""
        if not isinstance(self._line, Relay):
            return None
        if self._line.redirected:
            return SourceForbiddenError("the camera redirects elsewhere, which is not followed")
        problem = self._line.problem
        return None if problem is None else SourceFailedError(f"the camera does not speak RTSP: {problem}")

    def _use(self, line: Line) -> None:
        self._line = line
        self._on_line(line)

    def frames(self) -> Iterator[tuple[float | None, Image]]:
        """Times in seconds, where they are known, and upright RGB pictures; damaged ones are left out.

        Raises:
            FrameTooLargeError: A frame is larger than the limits allow.
        """
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        turns, converter = TurnReader(), RgbConverter()
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets)
                decoded = packet.decode()
            except StopIteration:
                return
            except av.error.InvalidDataError:
                continue
            except (av.error.FFmpegError, OSError):
                return
            for frame in decoded:
                self._limits.check_size(frame.width, frame.height)
                time_s = None if frame.pts is None else float(frame.pts * (frame.time_base or 0))
                yield time_s, converter.upright(frame, turns.turn(frame))

    def close(self) -> None:
        """Release everything."""
        if self._line is not None:
            self._line.cut()
        self._container.close()
        self._close_line()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
