"""The media to send, from wherever it is: a file, bytes, or an address to fetch it from."""

import io
import mimetypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import httpx

from partstream_client.errors import SourceError

Source: TypeAlias = str | os.PathLike[str] | bytes
"""A path, an http(s) address, or the media itself."""

ANY_MEDIA = "application/octet-stream"


@contextmanager
def opened(source: Source, http: httpx.Client) -> Iterator[tuple[IO[bytes], str]]:
    """The media as a file that can be read again from its start, and its content type.

    What is fetched from an address goes through a temporary file, not through memory.

    Raises:
        OSError: The path cannot be read.
        SourceError: The address did not bring the media.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source), ANY_MEDIA
    elif isinstance(source, str) and source.startswith(("http://", "https://")):
        with tempfile.TemporaryFile() as file:
            _fetch(source, http, file)
            yield file, ANY_MEDIA
    else:
        path = Path(source)
        with path.open("rb") as file:
            yield file, _media_type(path)


def _fetch(url: str, http: httpx.Client, file: IO[bytes]) -> None:
    try:
        with http.stream("GET", url, follow_redirects=True) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes():
                file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"could not fetch {url}: {error}") from error


def _media_type(path: Path) -> str:
    guess, _ = mimetypes.guess_type(path.name)
    return guess if guess and guess.startswith(("video/", "image/")) else ANY_MEDIA
