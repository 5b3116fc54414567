"""The plain client's thread, and what both clients share: progress, deadlines, keys, sources."""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import httpx
import pytest

from partstream_client import (
    AsyncClient,
    AuthError,
    Client,
    DeadlineError,
    Progress,
    RejectedError,
    RetryPolicy,
    Tls,
    UnavailableError,
)
from partstream_client.loop import LoopThread
from partstream_core.results import FrameResult, ModelInfo, VideoInfo, document_to_json, frame_to_json

DOCUMENT = document_to_json(VideoInfo(8, 6, 1, 25.0, 0.04, 0), ModelInfo("b", "1", "openvino", ()), ())
LINE = httpx.Response(200, json=frame_to_json(FrameResult(0, 0.0, True, ())))
ONCE = RetryPolicy(retries=0)


class Recorder:
    """A server that always gives the same answer, and keeps what it was sent."""

    def __init__(self, answer: httpx.Response | None = None) -> None:
        self._answer = answer or httpx.Response(200, json=DOCUMENT)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


async def numbers(closed: threading.Event) -> AsyncGenerator[int]:
    try:
        for number in range(100):
            await asyncio.sleep(0)
            yield number
    finally:
        closed.set()


def test_an_iteration_runs_on_the_other_thread_and_is_closed_there() -> None:
    loop, closed = LoopThread(), threading.Event()
    items = loop.iterate(lambda: numbers(closed))
    assert [next(items), next(items)] == [0, 1]
    assert not closed.is_set()
    items.close()
    assert closed.is_set()
    loop.close()


def test_an_iteration_that_nobody_holds_is_closed() -> None:
    loop, closed = LoopThread(), threading.Event()
    items = loop.iterate(lambda: numbers(closed))
    next(items)
    del items
    assert closed.wait(30)
    loop.close()


def test_closing_the_loop_ends_what_runs_and_says_so_to_who_waits() -> None:
    loop, waiting = LoopThread(), threading.Event()

    async def for_ever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def close() -> None:
        waiting.wait(30)
        loop.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(RuntimeError, match="closed meanwhile"):
        loop.run(for_ever())
    closer.join()
    with pytest.raises(RuntimeError, match="is closed"):
        loop.run(for_ever())


def test_a_callback_cannot_wait_for_its_own_client() -> None:
    recorder = Recorder()
    with Client("http://server", transport=recorder.transport) as client:

        def ask_again(_progress: Progress) -> None:
            client.is_ready()

        with pytest.raises(RuntimeError, match="must not wait"):
            client.parse(b"media", progress=ask_again)


def test_both_clients_say_the_same() -> None:
    async def ask() -> object:
        async with AsyncClient("http://server", transport=Recorder().transport) as client:
            return await client.parse(b"media")

    with Client("http://server", transport=Recorder().transport) as client:
        assert client.parse(b"media") == asyncio.run(ask())


def test_progress_tells_what_was_sent_and_what_came_back() -> None:
    told: list[Progress] = []
    size = 600_000

    def reads_all(request: httpx.Request) -> httpx.Response:
        assert len(request.content) == size
        return LINE

    with Client("http://server", transport=httpx.MockTransport(reads_all)) as client:
        list(client.iter_frames(bytes(size), progress=told.append))
    sent = [each.done for each in told if each.stage == "upload"]
    assert sent == sorted(sent)
    assert sent[-1] == size
    assert told[-1] == Progress("frames", 1, None)


def test_a_deadline_is_kept() -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with Client("http://server", transport=httpx.MockTransport(never)) as client:
        with pytest.raises(DeadlineError, match=r"0\.05 s"):
            client.parse(b"media", deadline_s=0.05)
        with pytest.raises(DeadlineError, match=r"0\.05 s"):
            list(client.iter_frames(b"media", deadline_s=0.05))
        with pytest.raises(ValueError, match="deadline_s"):
            client.parse(b"media", deadline_s=0)


def test_the_key_goes_to_the_server_and_to_nobody_else() -> None:
    recorder = Recorder()
    with Client("http://server", api_key="secret", transport=recorder.transport) as client:
        client.parse("http://elsewhere/clip.mp4")
    fetched, asked = recorder.requests
    assert fetched.url.host == "elsewhere"
    assert "authorization" not in fetched.headers
    assert asked.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="api_key"):
        Client("http://server", api_key=key)


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="'timeout'"):
        Client("http://server", timeout=3)  # type: ignore[call-arg]


def test_a_key_and_its_certificate_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        Tls(key_file="key.pem")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "key_missing", AuthError),
        (403, "foreign_origin", AuthError),
        (429, "rate_limited", UnavailableError),
        (429, "quota_exceeded", RejectedError),
    ],
)
def test_refusals_have_their_own_errors(status: int, code: str, kind: type[Exception]) -> None:
    recorder = Recorder(httpx.Response(status, json={"code": code, "status": status}))
    client = Client("http://server", transport=recorder.transport, retry=ONCE)
    with client, pytest.raises(kind) as caught:
        client.parse(b"media")
    assert type(caught.value) is kind


class Pipe(io.RawIOBase):
    """A file that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self._rest.readinto(buffer)  # type: ignore[arg-type]


def test_open_files_are_sent_from_where_they_stand(tmp_path: Path) -> None:
    recorder = Recorder()
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"header" + b"media")
    with Client("http://server", transport=recorder.transport) as client, path.open("rb") as file:
        file.seek(6)
        client.parse(file)
        client.parse(Pipe(b"piped"))  # type: ignore[arg-type]
    assert [request.content for request in recorder.requests] == [b"media", b"piped"]


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("media")
    with Client("http://server", transport=Recorder().transport) as client:
        with pytest.raises(TypeError, match="got int"):
            client.parse(5)  # type: ignore[arg-type]
        with path.open() as file, pytest.raises(TypeError, match="mode 'rb'"):
            client.parse(file)  # type: ignore[arg-type]


class Endless(httpx.AsyncByteStream):
    """An answer that goes on until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield LINE.content + b"\n"

    async def aclose(self) -> None:
        self.closed.set()


def test_a_reader_that_stops_early_closes_the_answer() -> None:
    body = Endless()
    recorder = Recorder(httpx.Response(200, stream=body))
    with Client("http://server", transport=recorder.transport) as client:
        frames = client.iter_frames(b"media")
        next(frames)
        assert not body.closed.is_set()
        frames.close()
        assert body.closed.is_set()
