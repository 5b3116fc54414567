"""Live streams over a WebSocket, with a client that is not ours."""

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection as SyncConnection
from websockets.sync.client import connect as connect_sync
from websockets.typing import Origin

from partstream_core.errors import EngineError
from partstream_core.results import frame_from_json
from partstream_server.engine import Engine
from tests.server.engines import Failing, Held
from tests.server.media_fixtures import image, picture
from tests.server.running_server import PATIENCE_S, Running, eventually

KEY = "a-key-for-this-test-only"
Serve = Callable[..., Running]


def address(server: Running) -> str:
    return server.url.replace("http", "ws", 1) + "/v1/stream"


@contextmanager
def opened(server: Running, **options: Any) -> Iterator[SyncConnection]:
    """A connection whose config was sent."""
    with connect_sync(address(server), open_timeout=PATIENCE_S, max_size=2**24) as connection:
        connection.send(json.dumps(options))
        yield connection


def read(connection: SyncConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(PATIENCE_S))
    return message


def read_all(connection: SyncConnection) -> list[dict[str, Any]]:
    """Every message until the server closes."""
    messages = []
    while True:
        try:
            messages.append(read(connection))
        except ConnectionClosed:
            return messages


def refused(connection: SyncConnection, code: str, *, close: int = 1008) -> dict[str, Any]:
    """The problem that ends a stream, once it was found to be this one."""
    *_, last = read_all(connection)
    assert last["type"] == "error", last
    problem: dict[str, Any] = last["problem"]
    assert (problem["code"], connection.protocol.close_code) == (code, close)
    assert problem["detail"]
    return problem


def test_pictures_sent_as_they_are_get_an_answer_each_in_order(server: Running) -> None:
    with opened(server, policy="block") as connection:
        first = read(connection)
        assert first["type"] == "opened"
        assert first["model"]["bundle"] == server.service.engine.bundle.manifest.name
        assert first["credits"] >= 1
        for shade in range(4):
            connection.send(image(picture(shade=shade), suffix=".jpg"))
        connection.send('{"type": "end"}')
        answers = read_all(connection)
        assert connection.protocol.close_code == 1000
    assert [answer["index"] for answer in answers] == [0, 1, 2, 3]
    for answer in answers:
        assert frame_from_json(answer["result"]).index == answer["index"]
        assert answer["latency"]["total_ms"] > 0
    times = [answer["time_s"] for answer in answers]
    assert times == sorted(times)


def test_a_client_may_number_and_date_its_pictures(server: Running) -> None:
    with opened(server, policy="block", masks="none") as connection:
        read(connection)
        for index, time_s in ((10, 0.5), (20, 0.75)):
            connection.send(json.dumps({"type": "frame", "index": index, "time_s": time_s}))
            connection.send(image())
        connection.send(image())
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert [answer["index"] for answer in answers] == [10, 20, 21]
    assert [answer["time_s"] for answer in answers[:2]] == [0.5, 0.75]


def test_results_are_those_of_the_same_pictures_in_a_video(server: Running) -> None:
    body = image(picture(width=320, height=240))
    alone = server.parse(body).json()["frames"][0]["people"]
    with opened(server, policy="block") as connection:
        read(connection)
        connection.send(body)
        assert read(connection)["result"]["people"] == alone


def test_pictures_that_cannot_be_parsed_fail_alone(server: Running) -> None:
    jpeg = image(suffix=".jpg")
    sent = [jpeg, jpeg[:200], b"roses are red", b"", image(picture(width=128, height=96)), jpeg]
    with opened(server, policy="block") as connection:
        read(connection)
        for body in sent:
            connection.send(body)
        connection.send('{"type": "frame", "index": 2}')
        connection.send(jpeg)
        connection.send('{"type": "frame", "index": 50, "time_s": -1}')
        connection.send(jpeg)
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert len(answers) == len(sent) + 2
    codes = [answer.get("failure", {}).get("code") for answer in answers]
    assert codes[0] is None and codes[5] is None
    assert codes[2:5] == ["not_a_video", "empty_upload", "frame_size_changed"]
    assert codes[1] in ("truncated", "not_a_video")
    assert codes[6:] == ["bad_index", "time_went_back"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_time_that_is_no_number_is_that_pictures_failure(server: Running, number: str) -> None:
    with opened(server, policy="block") as connection:
        read(connection)
        connection.send(f'{{"type": "frame", "time_s": {number}}}')
        connection.send(image())
        connection.send(image())
        connection.send('{"type": "end"}')
        refused_one, parsed = read_all(connection)
    assert (refused_one["time_s"], refused_one["failure"]["code"]) == (None, "bad_option")
    assert "finite" in refused_one["failure"]["message"]
    assert "result" in parsed


def test_bytes_behind_a_jpeg_do_not_make_it_a_damaged_one(server: Running) -> None:
    jpeg = image(suffix=".jpg")
    with opened(server, policy="block") as connection:
        read(connection)
        for body in (jpeg, jpeg + b"trailer" * 50, jpeg + bytes(3000)):
            connection.send(body)
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert len(answers) == 3
    assert all("result" in answer for answer in answers), answers


def test_every_second_picture_is_passed_over_as_agreed(server: Running) -> None:
    with opened(server, policy="block", every=2) as connection:
        read(connection)
        for _ in range(4):
            connection.send(image())
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert ["result" in answer for answer in answers] == [True, False, True, False]
    assert answers[1]["skipped"] == {"reason": "not_wanted"}


@pytest.mark.parametrize(
    ("first", "code", "said"),
    [
        ("poem", "config_missing", "config"),
        ("[1]", "config_missing", "config"),
        ('{"type": "frame"}', "config_missing", "config"),
        ("[" * 100_000, "config_missing", "config"),
        (b"\xff\xd8", "config_missing", "before any picture"),
        ('{"speed": 3}', "unknown_option", "speed"),
        ('{"policy": "fastest"}', "bad_option", "fastest"),
        ('{"score_threshold": 2}', "bad_option", "score_threshold"),
        ('{"score_threshold": NaN}', "bad_option", "score_threshold"),
        ('{"every": 0}', "bad_option", "every"),
        ('{"credits": -1}', "bad_option", "credits"),
        ('{"max_age_ms": -5}', "bad_option", "max_age_ms"),
        ('{"masks": "all"}', "bad_option", "masks"),
        ('{"bundle": "other"}', "unknown_bundle", "other"),
        ('{"resume_token": "!"}', "bad_option", "base64"),
        ('{"resume_token": 5}', "bad_option", "resume_token"),
        (json.dumps({"resume_token": base64.b64encode(b"x" * 90).decode()}), "bad_resume_token", ""),
    ],
)
def test_a_stream_that_begins_wrong_is_told_why(
    server: Running, first: str | bytes, code: str, said: str
) -> None:
    with connect_sync(address(server)) as connection:
        connection.send(first)
        assert said in refused(connection, code)["detail"]


@pytest.mark.parametrize(
    ("later", "code"),
    [
        ('{"policy": "block"}', "second_config"),
        ("poem", "bad_option"),
        ('{"type": "dance"}', "bad_option"),
        ('{"type": "frame", "index": -1}', "bad_option"),
        ('{"type": "frame", "index": "one"}', "bad_option"),
        ('{"type": "frame", "age_ms": -1}', "bad_option"),
        ('{"type": "frame", "colour": "red"}', "unknown_option"),
    ],
)
def test_a_wrong_message_ends_the_stream_with_the_reason(server: Running, later: str, code: str) -> None:
    with opened(server) as connection:
        read(connection)
        connection.send(later)
        refused(connection, code)


def test_a_message_beyond_the_limit_ends_the_stream_with_its_own_status(server: Running) -> None:
    with opened(server) as connection:
        read(connection)
        connection.send(bytes(50_000_000))
        read_all(connection)
        assert connection.protocol.close_code == 1009


def test_pages_of_other_sites_open_no_stream(server: Running) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect_sync(address(server), origin=Origin("http://evil.example")),
    ):
        pass
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body or b"")["code"] == "foreign_origin"
    with connect_sync(address(server), origin=Origin(server.url)) as connection:
        connection.send("{}")
        assert read(connection)["type"] == "opened"


def test_with_keys_a_stream_needs_one_in_a_header_or_in_its_config(serve: Serve) -> None:
    server = serve(api_keys=KEY)
    server.http.headers["X-API-Key"] = KEY
    with opened(server) as connection:
        refused(connection, "key_missing")
    with opened(server, api_key="wrong") as connection:
        refused(connection, "key_wrong")
    wrong = {"Authorization": "Bearer wrong"}
    with (
        pytest.raises(InvalidStatus) as caught,
        connect_sync(address(server), additional_headers=wrong),
    ):
        pass
    assert caught.value.response.status_code == 401
    with opened(server, api_key=KEY) as connection:
        assert read(connection)["type"] == "opened"
    with connect_sync(address(server), additional_headers={"X-API-Key": KEY}) as connection:
        connection.send("{}")
        assert read(connection)["type"] == "opened"


def test_frames_beyond_the_quota_fail_and_the_next_stream_is_refused(serve: Serve) -> None:
    server = serve(frame_quota=3)
    with opened(server, policy="block") as connection:
        read(connection)
        for _ in range(4):
            connection.send(image())
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert ["result" in answer for answer in answers] == [True, True, True, False]
    assert answers[3]["failure"]["code"] == "quota_exceeded"
    with opened(server) as connection:
        refused(connection, "quota_exceeded", close=1013)


def test_streams_beyond_the_limit_are_refused_and_let_in_once_there_is_room(serve: Serve) -> None:
    server = serve(max_streams=2)
    with opened(server) as first, opened(server) as second:
        assert {read(first)["type"], read(second)["type"]} == {"opened"}
        with opened(server) as third:
            refused(third, "busy", close=1013)
    eventually(lambda: not server.service.hub.streams, "the streams have ended")
    with opened(server) as fourth:
        assert read(fourth)["type"] == "opened"


def test_two_hundred_at_once_against_a_limit_leave_nothing_behind(serve: Serve) -> None:
    server = serve(max_streams=32, opening_timeout_s=PATIENCE_S)

    async def one(everyone: asyncio.Barrier) -> str:
        async with connect(address(server), open_timeout=PATIENCE_S) as connection:
            await connection.send("{}")
            message: dict[str, Any] = json.loads(await connection.recv())
            await everyone.wait()
            return str(message.get("problem", {}).get("code", message["type"]))

    async def all_of_them() -> list[str]:
        everyone = asyncio.Barrier(200)
        return await asyncio.gather(*(one(everyone) for _ in range(200)))

    outcomes = asyncio.run(all_of_them())
    assert (outcomes.count("opened"), outcomes.count("busy")) == (32, 168)
    eventually(lambda: not server.service.hub.streams, "every stream has ended")


def test_a_client_that_vanishes_is_forgotten(server: Running) -> None:
    with opened(server) as connection:
        read(connection)
        connection.send(image())
        connection.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: not server.service.hub.streams, "its stream is closed")


def test_a_client_that_sends_nothing_is_let_go(serve: Serve) -> None:
    server = serve(stream_idle_s=0.2)
    with connect_sync(address(server)) as silent:
        refused(silent, "idle_timeout")
    with opened(server) as connection:
        read(connection)
        refused(connection, "idle_timeout")


def test_a_client_that_never_reads_holds_no_more_than_its_credits(serve: Serve, engine: Engine) -> None:
    held = Held(engine)
    server = serve(held, send_timeout_s=5)
    with opened(server, policy="block", credits=3) as connection:
        read(connection)
        for _ in range(3):
            connection.send(image())
        eventually(lambda: server.service.hub.streams[0].num_in_flight == 3, "its credits are in use")
        connection.send(image())
        assert server.service.hub.streams[0].num_in_flight == 3
        held.gate.set()
        assert [read(connection)["index"] for _ in range(4)] == [0, 1, 2, 3]


def test_an_engine_that_fails_costs_one_frame(serve: Serve, engine: Engine) -> None:
    server = serve(Failing(engine, EngineError("out of order"), after_frames=1))
    with opened(server, policy="block") as connection:
        read(connection)
        for _ in range(3):
            connection.send(image())
        connection.send('{"type": "end"}')
        answers = read_all(connection)
    assert [answer.get("failure", {}).get("code") for answer in answers] == [None, "engine_failed", None]


def test_a_stream_goes_on_from_its_token(server: Running) -> None:
    with opened(server, policy="block") as connection:
        assert read(connection)["resumed"] is False
        connection.send(image())
        token = read(connection)["resume_token"]
    with opened(server, policy="block", resume_token=token) as connection:
        assert read(connection)["resumed"] is True
        connection.send('{"type": "frame", "index": 9, "time_s": 9}')
        connection.send(image())
        assert "result" in read(connection)


def test_a_server_that_ends_says_so_and_answers_what_it_has(serve: Serve) -> None:
    server = serve()
    with opened(server, policy="block") as connection:
        read(connection)
        connection.send(image())
        assert "result" in read(connection)
        asyncio.run_coroutine_threadsafe(server.service.hub.drain(PATIENCE_S), server.loop)
        away = read(connection)
        assert (away["type"], bool(away["resume_token"])) == ("going_away", True)
        connection.send(image())
        assert read(connection)["skipped"] == {"reason": "going_away"}
        connection.send('{"type": "end"}')
        assert read_all(connection) == []
        assert connection.protocol.close_code == 1012
