"""The client, for callers that have an event loop.

All of the client is written here and below, once, as coroutines. `partstream_client.client.Client` is the
same for callers without an event loop: it runs these coroutines on a thread of its own. A core without I/O
and two shells around it would have meant to write the shells twice, and with two wires (HTTP and gRPC),
reconnecting, and frames that are read ahead, the shells are most of the work. What decides and needs no I/O
to do so stands apart all the same: `retry`, `errors`, and the ledger of a stream's frames.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack
from urllib.parse import quote

import httpx

from partstream_client.deadline import Deadline, bounded
from partstream_client.errors import AnswerError, ClientError
from partstream_client.follow import FollowCalls
from partstream_client.frames import Frame, ParseResult, result_from
from partstream_client.jobs import AsyncJob, Output, job_query, list_jobs, submit
from partstream_client.progress import Progress, ProgressCallback
from partstream_client.rest import (
    Options,
    OverlayOptions,
    Rest,
    SourceOptions,
    chunks,
    frame_of,
    json_of,
    lines,
    read,
    size_of,
)
from partstream_client.retry import RetryPolicy
from partstream_client.source import Source
from partstream_client.streaming.answers import Answer, SourceAnswer
from partstream_client.streaming.connection import access_of
from partstream_client.streaming.options import Frames, StreamOptions
from partstream_client.streaming.stream import stream
from partstream_client.streaming.subscription import subscribe
from partstream_client.streaming.video import parse_video
from partstream_client.streaming.wire import video_config_message
from partstream_client.tls import Tls

DEFAULT_URL = "http://127.0.0.1:8000"


class Settings(TypedDict, total=False):
    """How a client reaches its server; every one may be left out."""

    streams: str | Sequence[str] | None
    """host:port of the server's live streams, port 50051 of the same host by default. Several addresses are
    servers that share their tokens: a stream that loses one goes on at the next."""
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


class AsyncClient(FollowCalls):
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
        api_key, tls = settings.get("api_key"), settings.get("tls")
        self._retry = settings.get("retry") or RetryPolicy()
        self._sleep = settings.get("sleep", asyncio.sleep)
        self._access = access_of(url, settings.get("streams"), api_key, tls)
        self._rest = Rest(
            url,
            timeout_s=settings.get("timeout_s", 600.0),
            retry=self._retry,
            sleep=self._sleep,
            api_key=api_key,
            tls=tls,
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

    def iter_frames(
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
        return bounded(self._frames(source, progress, options), deadline_s)

    async def _frames(
        self, source: Source, progress: ProgressCallback | None, options: Options
    ) -> AsyncGenerator[Frame]:
        async with (
            self._rest.opened(source) as media,
            self._rest.parse(media, "application/x-ndjson", options, progress) as response,
        ):
            num_frames, size = 0, size_of(response)
            async with aclosing(lines(response)) as found:
                async for line in found:
                    yield frame_of(line, size)
                    num_frames += 1
                    if progress:
                        progress(Progress("frames", num_frames, options.get("max_frames")))

    async def overlay(
        self,
        source: Source,
        out: str | os.PathLike[str],
        *,
        skeletons: bool = False,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[OverlayOptions],
    ) -> Path:
        """The path `out`, holding the video with parts, outlines and identities drawn on it (MP4).

        `render` makes people unrecognisable, or gives them another background, in its place. With `skeletons`
        joints are drawn, too. The file appears whole or not at all.

        Raises:
            OSError: A path cannot be read or written.
            ClientError: See `partstream_client.errors`.
        """
        backdrop = options.pop("backdrop", None)
        return await self._rendered(
            source, out, "video/mp4", options, progress, deadline_s, skeletons=skeletons, backdrop=backdrop
        )

    async def cutout(
        self,
        source: Source,
        out: str | os.PathLike[str],
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> Path:
        """The path `out`, holding the people alone on a transparent ground.

        A path that ends in `.mov` becomes a MOV (ProRes 4444, for editing programs), any other one a WebM
        (VP9 with alpha, for browsers).

        Raises:
            OSError: A path cannot be read or written.
            ClientError: See `partstream_client.errors`.
        """
        accept = "video/quicktime" if Path(out).suffix.lower() == ".mov" else "video/webm"
        return await self._rendered(source, out, accept, options, progress, deadline_s)

    async def _rendered(
        self,
        source: Source,
        out: str | os.PathLike[str],
        accept: str,
        options: Options,
        progress: ProgressCallback | None,
        deadline_s: float | None,
        *,
        skeletons: bool = False,
        backdrop: Source | None = None,
    ) -> Path:
        """The path `out`, holding an answer; it appears whole or not at all."""
        target = Path(out)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")

        async def write() -> None:
            async with (
                self._rest.opened_with(source, backdrop) as media,
                self._rest.parse(media, accept, options, progress, skeletons=skeletons) as response,
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

    def stream(
        self, frames: Frames, options: StreamOptions | None = None, *, deadline_s: float | None = None
    ) -> AsyncGenerator[Answer]:
        """Answers for the frames of a live source, in order: a `LiveFrame`, `Skipped` or `Failed`.

        A lost connection, and a server that stops, are followed by another connection by itself; people keep
        their identities. Closing the iterator ends the stream and closes the source.

        Args:
            frames: Gives frames, in its own time: RGB arrays uint8 [H, W, 3], encoded pictures as bytes, or
                `TimedFrame`s of these. All have the same size. An ordinary iterable is read on a thread.
            options: How they are parsed.
            deadline_s: Longest time for all of it.

        Raises:
            TypeError: The frames are no iterable.
            ValueError: A frame is none; the frames before it have been answered.
            ClientError: See `partstream_client.errors`. Frames in flight have been answered as failed.
        """
        answers = stream(frames, options or StreamOptions(), self._access, self._retry)
        return bounded(answers, deadline_s)

    def stream_video(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Frame]:
        """The results of a video frame by frame, over gRPC; the server decodes it.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """
        config = video_config_message(**options)

        async def frames() -> AsyncGenerator[Frame]:
            async with self._rest.opened(source) as media:
                found = parse_video(media, config, self._access, retry=self._retry, progress=progress)
                async with aclosing(found):
                    async for frame in found:
                        yield frame

        return bounded(frames(), deadline_s)

    async def start_source(self, url: str, **options: Unpack[SourceOptions]) -> str:
        """The id of a source that the server pulls from now on: a camera (RTSP), an HTTP or a file URL.

        Raises:
            ClientError: The server may not pull it; see `partstream_client.errors`.
        """
        document = json_of(await self._rest.ask("POST", "/v1/sources", {"url": url, **options}))
        if isinstance(document, dict) and isinstance(document.get("id"), str):
            return str(document["id"])
        raise AnswerError("the server's document holds no id of a source")

    def subscribe(self, source_id: str, *, deadline_s: float | None = None) -> AsyncGenerator[SourceAnswer]:
        """Answers for the frames of a source that the server pulls, from now on, until it ends.

        Closing the iterator leaves the source as it is.

        Raises:
            ClientError: There is no such source, or it failed; see `partstream_client.errors`.
        """
        return bounded(subscribe(source_id, self._access), deadline_s)

    async def stop_source(self, source_id: str) -> None:
        """Stop a source; afterwards the server does not know it any more.

        Raises:
            ClientError: There is no such source.
        """
        await self._rest.ask("DELETE", f"/v1/sources/{quote(source_id, safe='')}")

    async def submit(
        self,
        source: Source | None = None,
        *,
        url: str | None = None,
        outputs: Sequence[Output] = ("ndjson",),
        skeletons: bool = False,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[OverlayOptions],
    ) -> AsyncJob:
        """A job: the server parses in the background, also if this client leaves and the server restarts.

        Args:
            source: A path, an http(s) address that this client fetches, an open file, or the media itself.
            url: In place of it, an address that the server fetches.
            outputs: Files that the job makes.
            skeletons: Draw joints into the overlay video.
            webhook: An address that the server calls when the job is over.
            idempotency_key: Requests with the same key make one job; one is made up where it is left out.
            progress: Told how much has been sent.
            deadline_s: Longest time for sending.
            options: See `OverlayOptions`.

        Raises:
            ValueError: Both of source and url are given, or none, or `backdrop` with a url.
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """
        backdrop = options.pop("backdrop", None)
        query = job_query(options, tuple(outputs), skeletons=skeletons, webhook=webhook)
        work = submit(
            self._rest,
            source,
            query,
            url=url,
            backdrop=backdrop,
            idempotency_key=idempotency_key,
            progress=progress,
            sleep=self._sleep,
        )
        return await Deadline(deadline_s).wait(work)

    def job(self, job_id: str) -> AsyncJob:
        """A job that was submitted before, by its id."""
        return AsyncJob(self._rest, job_id, self._sleep)

    async def jobs(self) -> list[AsyncJob]:
        """All jobs of this key, newest first.

        Raises:
            ClientError: See `partstream_client.errors`.
        """
        return await list_jobs(self._rest, self._sleep)

    async def is_ready(self) -> bool:
        """Whether a server answers there and is ready to parse."""
        try:
            await self._rest.ask("GET", "/readyz")
        except ClientError:
            return False
        return True
