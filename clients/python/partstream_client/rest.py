"""REST calls of the client, with retries."""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, TypedDict

import httpx

from partstream_client.errors import (
    AnswerError,
    ConnectionFailedError,
    UnavailableError,
    UnreachableError,
    problem_from_answer,
    problem_from_json,
)
from partstream_client.frames import Frame, frame_from
from partstream_client.progress import ProgressCallback
from partstream_client.retry import RetryPolicy
from partstream_client.source import Form, Media, Source, opened
from partstream_client.tls import Tls, bearer

_CONNECT_TIMEOUT_S = 5.0


class Options(TypedDict, total=False):
    """Options of a parse; a field that is None takes the server's default."""

    score_threshold: float
    """People below this score are left out, [0, 1]."""
    every: int
    """Parse every n-th frame."""
    max_frames: int
    """Stop after this many frames."""
    start_s: float
    """Begin so many seconds after the first frame."""
    end_s: float
    """Stop so many seconds after the first frame."""
    fps: float
    """Parse about so many frames a second, in place of `every`."""
    stream: int
    """Number of the video stream, from 0, in files that have several."""
    deinterlace: bool
    """Whether interlaced frames are made progressive."""
    parts: str
    """Leave out all parts but these, such as `face,hair`."""
    people: str
    """Leave out all people but those with these identities, such as `1,3`."""
    masks: Literal["rle", "polygons", "none"]
    """The form of masks."""
    joints: bool
    """Whether people have joints, where the bundle finds them."""
    schedule: Literal["every-frame", "causal", "paper", "adaptive"]
    """Which frames are key frames."""
    interval: int
    """A key frame at least every so many frames."""
    flow: Literal["network", "dis", "codec", "none"]
    """Source of the flow from a frame to its key frame."""
    encodes: bool
    """Whether key frames are encoded with former ones."""
    assembly: Literal["greedy", "crf"]
    """Rule by which pixels get people."""


class OverlayOptions(Options, total=False):
    """What may be asked of a rendered video, beside the options of the parse."""

    render: Literal["overlay", "privacy", "background"]
    """What is drawn, people made unrecognisable, or another background."""
    layers: str
    """Of `overlay`: some of parts, outlines, boxes, labels and joints, separated by commas."""
    hide: Literal["faces", "heads", "people"]
    """What `privacy` covers."""
    effect: Literal["blur", "pixelate", "fill"]
    """How `privacy` covers it."""
    background: str
    """Of `background`: blur, or a colour such as #00ff00."""
    backdrop: Source
    """Of `background`: a picture in its place, sent with the video."""


class SourceOptions(TypedDict, total=False):
    """How a source that the server pulls is parsed; what is left out takes the server's default."""

    score_threshold: float
    """People below this score are left out, [0, 1]."""
    every: int
    """Parse every n-th frame."""
    masks: Literal["rle", "polygons", "none"]
    """The form of masks."""
    joints: bool
    """Whether people have joints, where the bundle finds them."""
    schedule: Literal["every-frame", "causal", "adaptive"]
    """Which frames are key frames."""
    interval: int
    """A key frame at least every so many frames."""
    flow: Literal["network", "dis", "codec", "none"]
    """Source of the flow from a frame to its key frame."""
    encodes: bool
    """Whether key frames are encoded with former ones."""
    assembly: Literal["greedy", "crf"]
    """Rule by which pixels get people."""
    policy: Literal["latest", "block"]
    """Whether frames are skipped that come faster than they are parsed; `block` skips none."""
    max_age_ms: float
    """Frames that are older are skipped; 0 sets no limit."""
    reconnect: bool
    """Whether to try again when the source breaks off; True by default."""


class Rest:
    """Connections to the REST service of one server.

    Args:
        url: Address of the server.
        timeout_s: Longest silence to bear.
        retry: When to try again.
        api_key: The server's key; it is sent to that server and to nobody else.
        tls: Certificates.
        transport: How requests travel; only tests give one.
        sleep: How waits between tries pass.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        retry: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
        api_key: str | None = None,
        tls: Tls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s))
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout,
            transport=transport,
            headers=bearer(api_key),
            # The system's authorities take a while to load, and nothing is verified on plain http.
            verify=tls.context() if tls else not url.startswith("http://"),
        )
        self._new_fetcher = lambda: httpx.AsyncClient(timeout=timeout, transport=transport)
        self._retry = retry
        self._sleep = sleep
        self._rng = random.Random()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def opened(self, source: Source) -> AsyncIterator[Media]:
        """The media of a source."""
        async with opened(source, self._new_fetcher) as media:
            yield media

    @asynccontextmanager
    async def opened_with(self, source: Source, backdrop: Source | None) -> AsyncIterator[Media | Form]:
        """The media of a source, in a form with a backdrop if there is one."""
        async with self.opened(source) as media:
            if backdrop is None:
                yield media
                return
            async with self.opened(backdrop) as picture:
                yield Form(media, picture)

    @asynccontextmanager
    async def parse(
        self,
        media: Media | Form,
        accept: str,
        options: Options,
        progress: ProgressCallback | None,
        *,
        skeletons: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """The good answer to a parse, with its body still to be read.

        Raises:
            ClientError: No try brought one.
        """
        query: dict[str, str | list[str]] = {name: str(value) for name, value in options.items()}
        if skeletons:
            query["skeletons"] = "true"
        async with self.upload("/v1/parse", media, query, {"Accept": accept}, progress) as response:
            yield response

    @asynccontextmanager
    async def upload(
        self,
        path: str,
        media: Media | Form,
        query: Mapping[str, str | list[str]],
        headers: Mapping[str, str],
        progress: ProgressCallback | None,
    ) -> AsyncIterator[httpx.Response]:
        """The good answer to media that are sent, with its body still to be read.

        Raises:
            ClientError: No try brought one.
        """
        headers = {
            **headers,
            "Content-Type": media.media_type,
            "Content-Length": str(media.size),
        }
        waits_s = self._retry.waits_s(self._rng)
        while True:
            request = self._http.build_request(
                "POST", path, content=media.chunks(progress), headers=headers, params=query
            )
            try:
                response = await self._send(request)
                break
            except (UnreachableError, UnavailableError) as error:
                wait_s = next(waits_s, None)
                if wait_s is None:
                    raise
                asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
            await self._sleep(min(max(wait_s, asked_s), self._retry.longest_wait_s))
        try:
            yield response
        finally:
            await response.aclose()

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[httpx.Response]:
        """The good answer to a GET, with its body still to be read.

        Raises:
            ClientError: There is no good one.
        """
        response = await self._send(self._http.build_request("GET", path))
        try:
            yield response
        finally:
            await response.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer to a small request, which is sent once.

        Args:
            method: Of HTTP.
            path: What to ask.
            document: The body, as JSON; None sends none.
            query: Of the URL.
            headers: Beside those of every request.

        Raises:
            ClientError: There is no good one.
        """
        response = await self._send(
            self._http.build_request(method, path, json=document, params=query, headers=headers)
        )
        try:
            return await read(response)
        finally:
            await response.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer to one try, if it is a good one."""
        try:
            response = await self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(f"no server at {self._http.base_url}: {_words(error)}") from error
        except httpx.TransportError as error:
            raise ConnectionFailedError(_words(error)) from error
        if response.is_success:
            return response
        try:
            raise problem_from_answer(response.status_code, response.headers, await read(response))
        finally:
            await response.aclose()


async def read(response: httpx.Response) -> bytes:
    """The whole body of an answer."""
    return b"".join([chunk async for chunk in chunks(response)])


async def chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body of an answer, piece by piece."""
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    except httpx.TransportError as error:
        raise ConnectionFailedError(f"the answer broke off: {_words(error)}") from error


async def lines(response: httpx.Response) -> AsyncGenerator[str]:
    """The lines of an answer that hold something."""
    try:
        async for line in response.aiter_lines():
            if line.strip():
                yield line
    except httpx.TransportError as error:
        raise ConnectionFailedError(f"the answer broke off: {_words(error)}") from error


def json_of(body: bytes) -> Any:
    """The decoded JSON body of a response."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise AnswerError(f"the server's document cannot be read: {error}") from error


def size_of(response: httpx.Response) -> tuple[int, int] | None:
    """Height and width of the frames of an answer in lines; None where a server does not tell them."""
    width, _, height = response.headers.get("Partstream-Frame-Size", "").partition("x")
    return (int(height), int(width)) if width.isdecimal() and height.isdecimal() else None


def frame_of(line: str, size: tuple[int, int] | None = None) -> Frame:
    """The frame of an NDJSON line; the error that it reports is raised."""
    try:
        value: Any = json.loads(line)
        if isinstance(value, Mapping) and "error" in value:
            raise problem_from_json(value["error"], status=500)
        return frame_from(value, size)
    except ValueError as error:
        raise AnswerError(f"a line of the server's answer cannot be read: {error}") from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
