"""A client of the REST service.

One `Client` keeps connections open between requests and may be used from several threads.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypedDict, Unpack

import httpx

from partstream_client.errors import (
    AnswerError,
    ConnectionFailedError,
    UnavailableError,
    UnreachableError,
    problem_from_answer,
    problem_from_json,
)
from partstream_client.frames import Frame, ParseResult, frame_from, result_from
from partstream_client.retry import RetryPolicy
from partstream_client.source import Source, opened

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_TIMEOUT_S = 5.0


class Options(TypedDict, total=False):
    """What may be asked of a parse; what is left out takes the server's default."""

    score_threshold: float
    """People below this score are left out, [0, 1]."""
    every: int
    """Parse every n-th frame."""
    max_frames: int
    """Stop after this many frames."""
    masks: Literal["rle", "polygons", "none"]
    """The form of masks."""


class Client:
    """Sends media to a partstream server and reads the results.

    A refused connection and a busy server (503) are tried again as the retry policy says.

    Args:
        url: Address of the server.
        timeout_s: Longest silence to bear. A whole document comes only when the last frame is done, so
            this bounds the length of a video for `parse`; `iter_frames` hears from the server at every frame.
        retry: When to try again.
        transport: How requests travel; only tests give one.
        sleep: How waits between tries pass.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = 600.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s))
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport)
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._rng = random.Random()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def parse(self, source: Source, **options: Unpack[Options]) -> ParseResult:
        """The results of the whole video or image.

        Args:
            source: A path, an http(s) address that this client fetches, or the media itself.
            options: See `Options`.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """
        with self._answer(source, "application/json", options) as response:
            body = _read(response)
        try:
            return result_from(json.loads(body))
        except ValueError as error:
            raise AnswerError(f"the server's document cannot be read: {error}") from error

    def iter_frames(self, source: Source, **options: Unpack[Options]) -> Iterator[Frame]:
        """The results frame by frame, each as soon as the server has it.

        Frames that came before a failure have been given by then.

        Raises:
            OSError: The path cannot be read.
            ClientError: See `partstream_client.errors`.
        """
        with self._answer(source, "application/x-ndjson", options) as response:
            for line in _lines(response):
                yield _frame_of(line)

    def overlay(self, source: Source, out: str | os.PathLike[str], **options: Unpack[Options]) -> Path:
        """The path `out`, holding the video with parts, outlines and identities drawn on it (MP4).

        The file appears whole or not at all.

        Raises:
            OSError: A path cannot be read or written.
            ClientError: See `partstream_client.errors`.
        """
        target = Path(out)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with self._answer(source, "video/mp4", options) as response, partial.open("wb") as file:
                for chunk in _chunks(response):
                    file.write(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def is_ready(self) -> bool:
        """Whether a server answers there and is ready to parse."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def _answer(self, source: Source, accept: str, options: Options) -> Iterator[httpx.Response]:
        """The answer to a parse, with its body still to be read."""
        with opened(source, self._http) as (file, media_type):
            headers = {"Accept": accept, "Content-Type": media_type}
            response = self._send_with_retries(file, headers, _query(options))
            try:
                yield response
            finally:
                response.close()

    def _send_with_retries(
        self, file: IO[bytes], headers: dict[str, str], query: dict[str, str]
    ) -> httpx.Response:
        waits_s = self._retry.waits_s(self._rng)
        while True:
            file.seek(0)
            request = self._http.build_request(
                "POST", "/v1/parse", content=file, headers=headers, params=query
            )
            try:
                return self._send(request)
            except (UnreachableError, UnavailableError) as error:
                wait_s = next(waits_s, None)
                if wait_s is None:
                    raise
                asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
            self._sleep(min(max(wait_s, asked_s), self._retry.longest_wait_s))

    def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer to one try, if it is a good one."""
        try:
            response = self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(f"no server at {self._http.base_url}: {_words(error)}") from error
        except httpx.TransportError as error:
            raise ConnectionFailedError(_words(error)) from error
        if response.is_success:
            return response
        try:
            raise problem_from_answer(response.status_code, response.headers, _read(response))
        finally:
            response.close()


def _query(options: Options) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def _read(response: httpx.Response) -> bytes:
    return b"".join(_chunks(response))


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes()
    except httpx.TransportError as error:
        raise ConnectionFailedError(f"the answer broke off: {_words(error)}") from error


def _lines(response: httpx.Response) -> Iterator[str]:
    try:
        yield from (line for line in response.iter_lines() if line.strip())
    except httpx.TransportError as error:
        raise ConnectionFailedError(f"the answer broke off: {_words(error)}") from error


def _frame_of(line: str) -> Frame:
    try:
        value: Any = json.loads(line)
        if isinstance(value, dict) and "error" in value:
            raise problem_from_json(value["error"], status=500)
        return frame_from(value)
    except ValueError as error:
        raise AnswerError(f"a line of the server's answer cannot be read: {error}") from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
