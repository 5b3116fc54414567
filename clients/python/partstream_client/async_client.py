"""The client, for callers that have an event loop.

All of the client is written here and below, once, as coroutines. `partstream_client.client.Client` is the
same for callers without an event loop: it runs these coroutines on a thread of its own. A core without I/O
and two shells around it would have meant to write the shells twice, and with two wires (HTTP and gRPC),
reconnecting, and frames that are read ahead, the shells are most of the work. What decides and needs no I/O
to do so stands apart all the same: `retry`, `errors`, and the ledger of a stream's frames.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

import httpx

from partstream_client.deadline import Deadline, bounded
from partstream_client.errors import AnswerError, ClientError
from partstream_client.frames import Frame, ParseResult, result_from
from partstream_client.progress import Progress, ProgressCallback
from partstream_client.rest import Options, Rest, chunks, frame_of, json_of, lines, read
from partstream_client.retry import RetryPolicy
from partstream_client.source import Source
from partstream_client.tls import Tls

DEFAULT_URL = "http://127.0.0.1:8000"


class Settings(TypedDict, total=False):
    """How a client reaches its server; every one may be left out."""

    api_key: str | None
    """The server's key, where it asks for one."""
    tls: Tls | None
    """Certificates, for an https address."""
    timeout_s: float
    """Longest silence to bear, 600 by default. A whole document comes only when the last frame is done, so
    this bounds the length of a video for `parse`; `iter_frames` hears from the server at every frame."""
    retry: RetryPolicy | None
    """When to try again."""
    transport: httpx.AsyncBaseTransport | None
    """How HTTP requests travel; only tests give one."""
    sleep: Callable[[float], Awaitable[None]]
    """How waits between tries pass."""


class AsyncClient:
    """Sends media to a partstream server and reads the results.

    A refused connection and a busy server (429, 503) are tried again as the retry policy says.

    Args:
        url: Address of the server.
        settings: See `Settings`.
    """

    def __init__(self, url: str = DEFAULT_URL, **settings: Unpack[Settings]) -> None:
        unknown = settings.keys() - Settings.__annotations__.keys()
        if unknown:
            raise TypeError(f"there is no setting {sorted(unknown)[0]!r}")
        self._rest = Rest(
            url,
            timeout_s=settings.get("timeout_s", 600.0),
            retry=settings.get("retry") or RetryPolicy(),
            sleep=settings.get("sleep", asyncio.sleep),
            api_key=settings.get("api_key"),
            tls=settings.get("tls"),
            transport=settings.get("transport"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def parse(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> ParseResult:
        """The results of the whole video or image.

        Args:
            source: A path, an http(s) address that this client fetches, an open file, or the media itself.
            progress: Told how much has been sent.
            deadline_s: Longest time for all of it.
            options: See `Options`.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """

        async def ask() -> bytes:
            async with (
                self._rest.opened(source) as media,
                self._rest.parse(media, "application/json", options, progress) as response,
            ):
                return await read(response)

        document = json_of(await Deadline(deadline_s).wait(ask()))
        try:
            return result_from(document)
        except ValueError as error:
            raise AnswerError(f"the server's document cannot be read: {error}") from error

    async def iter_frames(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Frame]:
        """The results frame by frame, each as soon as the server has it.

        Frames that came before a failure have been given by then.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """
        num_frames = 0
        async for frame in bounded(self._frames(source, progress, options), deadline_s):
            yield frame
            num_frames += 1
            if progress:
                progress(Progress("frames", num_frames, options.get("max_frames")))

    async def _frames(
        self, source: Source, progress: ProgressCallback | None, options: Options
    ) -> AsyncGenerator[Frame]:
        async with (
            self._rest.opened(source) as media,
            self._rest.parse(media, "application/x-ndjson", options, progress) as response,
        ):
            async for line in lines(response):
                yield frame_of(line)

    async def overlay(
        self,
        source: Source,
        out: str | os.PathLike[str],
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> Path:
        """The path `out`, holding the video with parts, outlines and identities drawn on it (MP4).

        The file appears whole or not at all.

        Raises:
            OSError: A path cannot be read or written.
            ClientError: See `partstream_client.errors`.
        """
        target = Path(out)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")

        async def write() -> None:
            async with (
                self._rest.opened(source) as media,
                self._rest.parse(media, "video/mp4", options, progress) as response,
            ):
                with partial.open("wb") as file:
                    async for chunk in chunks(response):
                        file.write(chunk)

        try:
            await Deadline(deadline_s).wait(write())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    async def is_ready(self) -> bool:
        """Whether a server answers there and is ready to parse."""
        try:
            await self._rest.get("/readyz")
        except ClientError:
            return False
        return True
