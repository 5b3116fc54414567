"""Uploads: from the socket to a file, a piece at a time, counted as they come.

A body is either the file itself, whatever its content type says, or a multipart form that holds it. At most
one buffer of `BUFFER_BYTES` is in memory for each upload.
"""

from __future__ import annotations

import io
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

import anyio
from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from partstream_core.errors import EmptyUploadError, UnsupportedMediaTypeError, UploadTooLargeError
from partstream_server.config.settings import Settings
from partstream_server.service.errors import UploadTimeoutError
from partstream_server.service.forms import FormReader

BUFFER_BYTES: Final = 1024 * 1024
FORM_OVERHEAD_BYTES: Final = 64 * 1024
"""Bytes that boundaries and headers of a form may add to the file."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of an upload: size, waiting time and rate."""

    max_bytes: int
    timeout_s: float
    """Longest wait for the next piece."""
    min_rate: int = 0
    """Least bytes a second on average, once `timeout_s` has passed; 0: any."""

    @classmethod
    def of(cls, settings: Settings, *, max_bytes: int | None = None) -> Self:
        """The limits that settings describe, with fewer bytes where that is asked for."""
        return cls(
            max_bytes=min(settings.max_upload_bytes, max_bytes or settings.max_upload_bytes),
            timeout_s=settings.upload_timeout_s,
            min_rate=settings.min_upload_rate,
        )

    def wait_s(self, *, num_bytes: int, passed_s: float) -> float:
        """How long the next piece may take, after so many bytes in so many seconds; 0 where it is late."""
        if not self.min_rate:
            return self.timeout_s
        left_s = self.timeout_s + num_bytes / self.min_rate - passed_s
        return max(0.0, min(self.timeout_s, left_s))


class UploadSink:
    """The file an upload goes to: counts its bytes and refuses more than the limit."""

    def __init__(self, file: BinaryIO, *, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self.num_bytes = 0

    def take(self, data: bytes) -> None:
        """Keep a piece in memory until the next `flush`.

        Raises:
            UploadTooLargeError: The limit is passed.
        """
        self.num_bytes += len(data)
        if self.num_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._buffer += data

    async def flush(self, *, at_least: int = 1) -> None:
        """Write the buffer, if it holds enough to be worth it, off the event loop."""
        if len(self._buffer) >= at_least:
            data, self._buffer = self._buffer, bytearray()
            await to_thread.run_sync(self._file.write, data)


def too_large(max_bytes: int) -> UploadTooLargeError:
    """The error of an upload over the limit."""
    return UploadTooLargeError(f"the upload is larger than the limit of {max_bytes} bytes")


def too_slow(limits: UploadLimits) -> UploadTimeoutError:
    """The error of an upload whose next piece came too late."""
    rate = f", or it is slower than {limits.min_rate} bytes a second" if limits.min_rate else ""
    return UploadTimeoutError(f"the upload stood still for {limits.timeout_s:g} seconds{rate}")


async def receive_upload(
    request: Request,
    path: Path,
    limits: UploadLimits,
    on_bytes: Callable[[int], None],
    *,
    backdrop: Path | None = None,
) -> None:
    """Write the request's file to a path, and its backdrop to another.

    Args:
        request: Its body is read once, here.
        path: Made or replaced; incomplete if this raises.
        limits: Checked as the bytes come.
        on_bytes: Told the size of each piece of the body.
        backdrop: Made if there is one in the form; None refuses one. Limits are those of both together.

    Raises:
        EmptyUploadError, UploadTooLargeError, UnsupportedMediaTypeError, UploadFieldError,
        MalformedUploadError, UploadTimeoutError: As their names say.
        ClientDisconnect: The client left.
    """
    form = _form_boundary(request)
    max_body_bytes = limits.max_bytes + (FORM_OVERHEAD_BYTES if form else 0)
    if _declared_bytes(request) > max_body_bytes:
        raise too_large(limits.max_bytes)
    with path.open("wb") as file, _temporary(backdrop) as second_file:
        upload = UploadSink(file, max_bytes=limits.max_bytes)
        second = UploadSink(second_file, max_bytes=limits.max_bytes)
        reader = FormReader(form, upload.take, second.take if backdrop else None) if form else None
        take = reader.write if reader else upload.take
        async with aclosing(_pieces(request, limits, max_bytes=max_body_bytes)) as pieces:
            async for piece in pieces:
                on_bytes(len(piece))
                take(piece)
                await upload.flush(at_least=BUFFER_BYTES)
                await second.flush(at_least=BUFFER_BYTES)
        if reader:
            reader.finish()
        await upload.flush()
        await second.flush()
    if upload.num_bytes == 0:
        raise EmptyUploadError("the upload is empty: send a video or an image")
    if reader and reader.has_backdrop and second.num_bytes == 0:
        raise EmptyUploadError("the backdrop is empty: send a picture")


@contextmanager
def _temporary(path: Path | None) -> Iterator[BinaryIO]:
    """A file to write to, which is removed if nothing was written; one in memory without a path."""
    if path is None:
        yield io.BytesIO()
        return
    with path.open("wb") as file:
        yield file
    if path.stat().st_size == 0:
        path.unlink()


async def _pieces(request: Request, limits: UploadLimits, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes; one that is endless, stands still or is too slow is given up."""
    num_bytes, began_s = 0, time.monotonic()
    async with aclosing(request.stream()) as stream:
        while True:
            wait_s = limits.wait_s(num_bytes=num_bytes, passed_s=time.monotonic() - began_s)
            try:
                with anyio.fail_after(wait_s):
                    piece = await anext(stream, None)
            except TimeoutError:
                raise too_slow(limits) from None
            if piece is None:
                return
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise too_large(max_bytes)
            yield piece


def _form_boundary(request: Request) -> bytes | None:
    """The boundary of a multipart form, or None where the body is the file itself.

    Raises:
        UnsupportedMediaTypeError: Multipart of another kind or without a boundary, or compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"the body is compressed ({encoding}); send it as it is")
    media_type, parameters = parse_options_header(request.headers.get("content-type", ""))
    if not media_type.startswith(b"multipart/"):
        return None
    if media_type != b"multipart/form-data":
        name = media_type.decode("latin-1")
        raise UnsupportedMediaTypeError(f"send multipart/form-data or the file itself, not {name}")
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise UnsupportedMediaTypeError("the content type multipart/form-data has no boundary")
    return boundary


def _declared_bytes(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0
