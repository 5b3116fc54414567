"""Downloads the file behind an allowed URL, or copies an allowed file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from partstream_core.errors import EmptyUploadError, OptionError, UploadTooLargeError
from partstream_server.sources.address import Rules, check_url, file_of
from partstream_server.sources.errors import SourceFailedError
from partstream_server.sources.http import HttpBody

_CHUNK_BYTES: Final = 1 << 20


def check_download(url: str, rules: Rules) -> None:
    """Refuse a URL that no file is downloaded from.

    Raises:
        OptionError: It is no URL of a file.
        SourceForbiddenError: It may not be reached.
    """
    if check_url(url, rules).scheme == "rtsp":
        raise OptionError("url: a job takes a file; a camera is pulled as a source")


def download(url: str, rules: Rules, path: Path, *, max_bytes: int, before_chunk: Callable[[], None]) -> int:
    """Write the file behind a URL to a path, and return its length in bytes.

    Args:
        url: http:, https: or file:.
        rules: Where the server may go.
        path: Made or replaced; incomplete if this raises.
        max_bytes: Largest file.
        before_chunk: Called again and again; raises to end the download.

    Raises:
        OptionError, SourceForbiddenError: The URL is wrong, or not allowed.
        SourceFailedError: The server does not answer, or its answer breaks off.
        UploadTooLargeError: The file is too large.
        EmptyUploadError: It is empty.
        OSError: It cannot be written.
    """
    parts = check_url(url, rules)
    if parts.scheme == "file":
        try:
            opened = file_of(parts, rules).open("rb")
        except OSError as error:
            raise SourceFailedError(f"{parts.path}: {error.strerror}") from error
        with opened:
            return _copy(opened, path, max_bytes, before_chunk)
    body = HttpBody(url, rules)
    declared = body.declared_bytes
    try:
        num_bytes = _copy(body, path, max_bytes, before_chunk)
    finally:
        body.close()
    if declared is not None and num_bytes < declared:
        raise SourceFailedError(f"the download broke off after {num_bytes} of {declared} bytes")
    return num_bytes


def _copy(source: BinaryIO | HttpBody, path: Path, max_bytes: int, before_chunk: Callable[[], None]) -> int:
    num_bytes = 0
    with path.open("wb") as file:
        while True:
            before_chunk()
            chunk = source.read(_CHUNK_BYTES)
            if not chunk:
                break
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise UploadTooLargeError(f"the file is larger than the limit of {max_bytes} bytes")
            file.write(chunk)
    if num_bytes == 0:
        raise EmptyUploadError("the file is empty")
    return num_bytes
