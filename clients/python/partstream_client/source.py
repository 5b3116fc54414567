"""Media to upload: a file, bytes, an open stream, or an address to fetch it from."""

import asyncio
import io
import mimetypes
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import httpx

from partstream_client.errors import SourceError
from partstream_client.progress import Progress, ProgressCallback

Source: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]
"""A path, an http(s) address, the media itself, or a file that is open for reading bytes."""

ANY_MEDIA = "application/octet-stream"
CHUNK_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Media:
    """Media that can be read more than once."""

    file: IO[bytes]
    start: int
    """Offset in the file at which the media begins."""
    size: int
    """Bytes from there to the end."""
    media_type: str

    async def chunks(self, progress: ProgressCallback | None = None) -> AsyncIterator[bytes]:
        """The media from its start, piece by piece; progress is told what has been taken."""
        await asyncio.to_thread(self.file.seek, self.start)
        done = 0
        while chunk := await asyncio.to_thread(self.file.read, CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if progress:
                progress(Progress("upload", done, self.size))


@asynccontextmanager
async def opened(source: Source, new_http: Callable[[], httpx.AsyncClient]) -> AsyncIterator[Media]:
    """The media of a source.

    What is fetched from an address, or read from a file that cannot be read twice, goes through a temporary
    file, not through memory.

    Args:
        source: Where the media is.
        new_http: Makes what fetches addresses. It must not carry the server's key.

    Raises:
        OSError: The path cannot be read.
        SourceError: The address did not bring the media.
        TypeError: It is no source.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield _measured(io.BytesIO(source), ANY_MEDIA)
    elif isinstance(source, str) and source.startswith(("http://", "https://")):
        with tempfile.TemporaryFile() as file:
            async with new_http() as http:
                await _fetch(source, http, file)
            file.seek(0)
            yield _measured(file, ANY_MEDIA)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file:
            yield _measured(file, _media_type(path))
    elif not hasattr(source, "read"):
        raise TypeError(f"a source is a path, an address, bytes or an open file, got {type(source).__name__}")
    elif hasattr(source, "encoding"):
        raise TypeError("the file is open for text; open it with mode 'rb'")
    elif source.seekable():
        yield _measured(source, ANY_MEDIA)
    else:
        with tempfile.TemporaryFile() as file:
            await asyncio.to_thread(shutil.copyfileobj, source, file, CHUNK_BYTES)
            file.seek(0)
            yield _measured(file, ANY_MEDIA)


def _measured(file: IO[bytes], media_type: str) -> Media:
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    return Media(file, start, size, media_type)


async def _fetch(url: str, http: httpx.AsyncClient, file: IO[bytes]) -> None:
    try:
        async with http.stream("GET", url, follow_redirects=True) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"could not fetch {url}: {error}") from error


def _media_type(path: Path) -> str:
    guess, _ = mimetypes.guess_type(path.name)
    return guess if guess and guess.startswith(("video/", "image/")) else ANY_MEDIA


class Form:
    """A video and a backdrop as one form, to be sent like media.

    Args:
        media: The video or the image.
        backdrop: The picture behind people.
    """

    def __init__(self, media: Media, backdrop: Media) -> None:
        boundary = uuid.uuid4().hex
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self._parts = tuple(
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
                f"Content-Type: {one.media_type}\r\n\r\n".encode(),
                one,
            )
            for name, one in (("video", media), ("backdrop", backdrop))
        )
        self._end = f"--{boundary}--\r\n".encode()
        self.size = sum(len(head) + one.size + 2 for head, one in self._parts) + len(self._end)

    async def chunks(self, progress: ProgressCallback | None = None) -> AsyncIterator[bytes]:
        """The form from its start, piece by piece; progress is told what has been taken of the video."""
        for number, (head, one) in enumerate(self._parts):
            yield head
            async for chunk in one.chunks(progress if number == 0 else None):
                yield chunk
            yield b"\r\n"
        yield self._end
