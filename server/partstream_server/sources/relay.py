"""Relay for RTSP: FFmpeg connects to it, and it connects to a checked address.

FFmpeg resolves names and follows redirects by itself, without a way to forbid either; behind the relay it can
reach one address only. A message that redirects, or that cannot be split safely, ends the connection.
Ending the relay ends FFmpeg's wait.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

from partstream_server.sources.address import READ_TIMEOUT_S
from partstream_server.sources.rtsp import FramingError, RedirectedError, RtspFraming

_CHUNK_BYTES: Final = 64 * 1024
_JOIN_S: Final = 5.0


class Relay:
    """One connection from this machine to a camera."""

    def __init__(self, outside: socket.socket) -> None:
        """Listen for one connection.

        Args:
            outside: The connection to the camera; the relay closes it.
        """
        self._outside = outside
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(READ_TIMEOUT_S)
        self.port: int = self._listener.getsockname()[1]
        self.redirected = False
        """Whether the camera wanted to send FFmpeg elsewhere."""
        self.problem: str | None = None
        """Why the camera's bytes were refused, if they were."""
        self._inside: socket.socket | None = None
        self._lock = threading.Lock()
        self._over = False
        self._threads = [threading.Thread(target=self._accept, name="source-relay", daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        try:
            inside, _ = self._listener.accept()
        except OSError:
            self._cut()
            return
        with self._lock:
            self._inside = inside
            over = self._over
        self._listener.close()
        if over:
            self._cut()
            return
        inside.settimeout(None)
        upward = threading.Thread(
            target=self._pump, args=(inside, self._outside), name="source-relay", daemon=True
        )
        self._threads.append(upward)
        upward.start()
        self._pump(self._outside, inside, RtspFraming())

    def _pump(self, source: socket.socket, target: socket.socket, framing: RtspFraming | None = None) -> None:
        try:
            while chunk := source.recv(_CHUNK_BYTES):
                target.sendall(chunk if framing is None else framing.feed(chunk))
        except RedirectedError:
            self.redirected = True
        except FramingError as error:
            self.problem = str(error)
        except OSError:
            pass
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            ends = [end for end in (self._inside, self._outside) if end is not None]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End both connections; safe from any thread."""
        self._cut()
        with contextlib.suppress(OSError):
            # A thread that waits in accept does not notice that its socket is closed, but this it does.
            self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both connections and wait for the threads."""
        self.cut()
        for thread in list(self._threads):
            thread.join(_JOIN_S)
        self._listener.close()
        for end in (self._inside, self._outside):
            if end is not None:
                end.close()
