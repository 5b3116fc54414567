"""Finds the end of a JPEG: whether it is truncated, and what follows it in the file.

Source: ITU-T T.81, B.1.1 (markers), B.2 (order of segments).
"""

from __future__ import annotations

import re
from typing import Final

START: Final = b"\xff\xd8\xff"
_NEXT_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""After a scan's data; 0 and restart markers belong to it."""
_END: Final = 0xD9
_LONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""
_SIZES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of frame headers, which tell the size."""


def end_of(data: bytes, begin: int = 0) -> int | None:
    """The position after the picture that begins somewhere; None where its end is missing.

    An end inside of a segment, such as that of a thumbnail, is none.
    """
    return _walk(data, begin)[1]


def is_motion(data: bytes) -> bool:
    """Whether a picture is followed at once by another one of its size, as in a raw stream of them."""
    size, end = _walk(data, 0)
    if end is None or size is None or not data.startswith(START, end):
        return False
    return _walk(data, end)[0] == size


def _walk(data: bytes, begin: int) -> tuple[bytes | None, int | None]:
    """Height and width as they are coded, and the position after the picture."""
    size: bytes | None = None
    at = begin + 2
    while (match := _NEXT_MARKER.search(data, at)) is not None:
        marker, at = match[1][0], match.end()
        if marker == _END:
            return size, at
        if marker in _LONE:
            continue
        if at + 2 > len(data):
            break
        if marker in _SIZES:
            size = data[at + 3 : at + 7]
        at += int.from_bytes(data[at : at + 2])
    return size, None
