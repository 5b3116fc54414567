"""What a client sends, when it tries again, and how it reports what went wrong.

A transport of the test's own plays the server here, since a real one cannot be made to fail on cue; the
client meets the real service in test_client_service.py.
"""

import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from partstream_client import (
    AnswerError,
    Client,
    ConnectionFailedError,
    ProblemError,
    RejectedError,
    RetryPolicy,
    ServerFailedError,
    SourceError,
    UnavailableError,
    UnreachableError,
)
from partstream_core.results import FrameResult, ModelInfo, VideoInfo, document_to_json, frame_to_json

Answer = Callable[[httpx.Request], httpx.Response]

DOCUMENT = document_to_json(VideoInfo(8, 6, 1, 25.0, 0.04, 0), ModelInfo("b", "1", "openvino", ()), ())
BUSY = httpx.Response(503, json={"code": "busy", "title": "Busy", "status": 503})


class Line:
    """A server that gives its answers one after the other, and remembers what was asked."""

    def __init__(self, *answers: Answer | httpx.Response) -> None:
        self._answers = iter(answers)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.waits_s: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        answer = next(self._answers)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self, **policy: float) -> Client:
        retry = RetryPolicy(retries=int(policy.pop("retries", 3)), **policy)
        return Client("http://server", retry=retry, transport=httpx.MockTransport(self), sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def document(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=DOCUMENT)


def lines(*values: object) -> httpx.Response:
    return httpx.Response(200, text="".join(json.dumps(value) + "\n" for value in values))


def frame(index: int) -> dict[str, object]:
    return frame_to_json(FrameResult(index, index / 25, True, ()))


def test_a_file_is_sent_whole_with_its_type_and_options(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"media" * 50_000)
    line = Line(document)

    with line.client() as client:
        client.parse(path, every=2, masks="polygons", joints=False, score_threshold=0.25)

    (request,) = line.requests
    assert request.method == "POST"
    assert dict(request.url.params) == {
        "every": "2",
        "masks": "polygons",
        "joints": "False",
        "score_threshold": "0.25",
    }
    assert request.headers["Content-Type"] == "video/mp4"
    assert request.headers["Accept"] == "application/json"
    assert line.bodies == [b"media" * 50_000]


def test_media_behind_an_address_is_fetched_and_sent() -> None:
    line = Line(httpx.Response(200, content=b"far away"), document)
    with line.client() as client:
        client.parse("https://elsewhere/clip.mp4")
    assert [str(request.url) for request in line.requests] == [
        "https://elsewhere/clip.mp4",
        "http://server/v1/parse",
    ]
    assert line.bodies[1] == b"far away"


def test_an_address_that_brings_nothing_is_the_sources_fault() -> None:
    line = Line(httpx.Response(404))
    with line.client() as client, pytest.raises(SourceError, match=r"https://elsewhere/clip\.mp4"):
        client.parse("https://elsewhere/clip.mp4")


def test_a_busy_server_is_tried_again_with_the_whole_body() -> None:
    line = Line(BUSY, BUSY, document)
    with line.client() as client:
        result = client.parse(b"media")
    assert result.video.width == 8
    assert line.bodies == [b"media"] * 3
    assert len(line.waits_s) == 2


def test_a_refused_connection_is_tried_again() -> None:
    line = Line(refuse, document)
    with line.client() as client:
        assert client.parse(b"media").frames == ()


@pytest.mark.parametrize(("answer", "error"), [(BUSY, UnavailableError), (refuse, UnreachableError)])
def test_tries_end_and_the_last_failure_is_reported(
    answer: Answer | httpx.Response, error: type[Exception]
) -> None:
    line = Line(*[answer] * 3)
    with line.client(retries=2) as client, pytest.raises(error):
        client.parse(b"media")
    assert len(line.requests) == 3


def test_a_server_that_names_a_wait_is_waited_for() -> None:
    line = Line(httpx.Response(503, headers={"Retry-After": "4"}, json={"code": "busy"}), document)
    with line.client() as client:
        client.parse(b"media")
    assert line.waits_s == [4.0]


def test_no_wait_is_longer_than_the_policy_allows() -> None:
    line = Line(httpx.Response(503, headers={"Retry-After": "9999"}), document)
    with line.client(longest_wait_s=5.0) as client:
        client.parse(b"media")
    assert line.waits_s == [5.0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RejectedError), (413, RejectedError), (422, RejectedError), (500, ServerFailedError)],
)
def test_a_problem_keeps_its_code_and_is_not_tried_again(status: int, kind: type[ProblemError]) -> None:
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": "why", "code": "some_code"}
    line = Line(httpx.Response(status, json=problem))
    with line.client() as client, pytest.raises(kind) as caught:
        client.parse(b"media")
    error = caught.value
    assert (error.code, error.status, error.title, error.detail) == ("some_code", status, "No", "why")
    assert len(line.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"code": 5, "status": "x"}'])
def test_an_error_that_is_no_problem_document_still_has_a_status(body: bytes) -> None:
    line = Line(httpx.Response(502, content=body))
    with line.client() as client, pytest.raises(ServerFailedError) as caught:
        client.parse(b"media")
    assert (caught.value.code, caught.value.status) == ("unknown", 502)


@pytest.mark.parametrize("body", [b"", b"{}", b"not json"])
def test_a_document_that_cannot_be_read_is_an_answer_error(body: bytes) -> None:
    line = Line(httpx.Response(200, content=body))
    with line.client() as client, pytest.raises(AnswerError):
        client.parse(b"media")


def test_frames_come_in_order() -> None:
    line = Line(lines(frame(0), frame(2), frame(4)))
    with line.client() as client:
        assert [each.index for each in client.iter_frames(b"media")] == [0, 2, 4]
    assert line.requests[0].headers["Accept"] == "application/x-ndjson"


def test_frames_before_a_failure_are_given_and_the_failure_is_raised() -> None:
    problem = {"code": "engine_failed", "status": 500, "title": "Engine"}
    line = Line(lines(frame(0), {"error": problem}))
    with line.client() as client:
        frames = client.iter_frames(b"media")
        assert next(frames).index == 0
        with pytest.raises(ServerFailedError) as caught:
            next(frames)
    assert caught.value.code == "engine_failed"


def breaks_after(*chunks: bytes) -> Answer:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        raise httpx.ReadError("reset by peer")

    return lambda _request: httpx.Response(200, content=body())


def test_an_answer_that_breaks_off_is_a_failed_connection() -> None:
    line = Line(breaks_after(json.dumps(frame(0)).encode() + b"\n"))
    with line.client() as client:
        frames = client.iter_frames(b"media")
        assert next(frames).index == 0
        with pytest.raises(ConnectionFailedError, match="broke off"):
            next(frames)


def test_an_overlay_is_written_whole(tmp_path: Path) -> None:
    line = Line(httpx.Response(200, content=b"mp4" * 1000))
    with line.client() as client:
        assert client.overlay(b"media", tmp_path / "out.mp4").read_bytes() == b"mp4" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_an_overlay_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")
    line = Line(breaks_after(b"half"))
    with line.client() as client, pytest.raises(ConnectionFailedError):
        client.overlay(b"media", target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_path_that_is_not_there_is_reported_before_anything_is_sent(tmp_path: Path) -> None:
    line = Line()
    with line.client() as client, pytest.raises(FileNotFoundError):
        client.parse(tmp_path / "nothing.mp4")
    assert line.requests == []


def test_ready_is_what_the_server_says() -> None:
    line = Line(httpx.Response(200), httpx.Response(503), refuse)
    with line.client() as client:
        assert [client.is_ready() for _ in range(3)] == [True, False, False]


def test_waits_grow_up_to_the_longest() -> None:
    policy = RetryPolicy(retries=5, first_wait_s=1.0, factor=3.0, longest_wait_s=8.0)
    waits_s = list(policy.waits_s(random.Random(0)))
    for wait_s, step_s in zip(waits_s, [1.0, 3.0, 8.0, 8.0, 8.0], strict=True):
        assert step_s / 2 <= wait_s <= step_s


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"factor": 0.5}, {"first_wait_s": -1.0}, {"first_wait_s": 99.0}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
