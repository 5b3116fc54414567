"""The framing of RTSP: what of a camera's bytes may reach FFmpeg.

FFmpeg follows redirects by itself, so a message that redirects must not reach it, however it is spelled or
cut into pieces. The bytes are split exactly as FFmpeg splits them: interleaved data by its length, headers
line by line to a blank one, then a body of Content-Length bytes. What could be split in two ways is refused.

Source: RFC 2326, sections 6, 7, 10.12 and 12; FFmpeg, libavformat/rtsp.c (how replies are read).
"""

from __future__ import annotations

import re
from typing import Final

MAX_LINE_BYTES: Final = 4000
"""FFmpeg cuts longer lines."""
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_DOLLAR: Final = ord("$")
_INTERLEAVED_HEAD: Final = 4
_LEAST_INTERLEAVED: Final = 8
"""FFmpeg reads the payload of shorter data as if a message began there."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_STATUS: Final = re.compile(rb"\d{3}")
_METHOD: Final = re.compile(rb"[A-Z_]{3,20}")
_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,9})[ \t]*", re.IGNORECASE)


class RedirectedError(Exception):
    """The camera wants to send its client elsewhere."""


class FramingError(Exception):
    """The bytes are no RTSP, or could be split in more than one way."""


class RtspFraming:
    """Passes a camera's bytes on, message by message.

    A message's head is held back until it is whole and has been checked; data and bodies pass at once.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._num_passing = 0
        self._line_start = 0

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes that may be passed on.

        Raises:
            RedirectedError: A message redirects; nothing of it has been passed on.
            FramingError: The bytes cannot be split safely.
        """
        self._held += chunk
        passed = bytearray()
        while self._held:
            if self._num_passing:
                count = min(self._num_passing, len(self._held))
                self._num_passing -= count
            else:
                count = self._next_unit()
                if count == 0:
                    break
            passed += self._held[:count]
            del self._held[:count]
            self._line_start = 0
        return bytes(passed)

    def _next_unit(self) -> int:
        """Bytes of the data head, blank line or message head that the held bytes begin with; 0: not whole."""
        if self._held[0] in b"\r\n":
            return 1
        if self._held[0] == _DOLLAR:
            return self._interleaved()
        return self._message_head()

    def _interleaved(self) -> int:
        if len(self._held) < _INTERLEAVED_HEAD:
            return 0
        length = int.from_bytes(self._held[2:4], "big")
        if length < _LEAST_INTERLEAVED:
            raise FramingError(f"interleaved data of {length} bytes")
        self._num_passing = length
        return _INTERLEAVED_HEAD

    def _message_head(self) -> int:
        """Look for the blank line from where the last look ended."""
        while True:
            end = self._held.find(b"\n", self._line_start)
            length = (len(self._held) if end < 0 else end) - self._line_start
            if length > MAX_LINE_BYTES or self._line_start > MAX_HEADER_BYTES:
                raise FramingError("a message head without end")
            if end < 0:
                return 0
            is_blank = not self._held[self._line_start : end].strip(b"\r")
            self._line_start = end + 1
            if is_blank:
                self._num_passing = body_length(bytes(self._held[: end + 1]))
                return end + 1


def body_length(head: bytes) -> int:
    """Length of the body that follows a message's head.

    Args:
        head: All lines up to the blank one, it included.

    Raises:
        RedirectedError: It is an answer with a status of 300 to 399, or the request REDIRECT.
        FramingError: It is no message of RTSP, or its length is not clear.
    """
    first, *fields = [line.replace(b"\r", b"") for line in head.split(b"\n")]
    _check_first_line(first)
    length: int | None = None
    for line in fields:
        if line.startswith(b"$") or _CONTROL.search(line):
            raise FramingError("a header that is not text")
        if not line.strip().lower().startswith(b"content-length"):
            continue
        match = _LENGTH.fullmatch(line)
        if match is None or length is not None or int(match[1]) > MAX_BODY_BYTES:
            raise FramingError("a length of the body that is not clear")
        length = int(match[1])
    return length or 0


def _check_first_line(line: bytes) -> None:
    words = line.split()
    if _CONTROL.search(line) or not words:
        raise FramingError("a first line that is not text")
    if words[0].startswith(b"RTSP/"):
        if len(words) < 2 or not _STATUS.fullmatch(words[1]):
            raise FramingError("an answer without a status")
        if 300 <= int(words[1]) < 400:
            raise RedirectedError
        return
    if not _METHOD.fullmatch(words[0]) or not words[-1].startswith(b"RTSP/"):
        raise FramingError("neither an answer nor a request")
    if words[0] == b"REDIRECT":
        raise RedirectedError
