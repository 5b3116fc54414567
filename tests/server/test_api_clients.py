"""Clients that leave, stall or come in crowds, and an engine that fails, at a real server."""

import gc
import json
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from partstream_core.errors import EngineError
from partstream_server.engine import Engine
from tests.server.answers import document, problem
from tests.server.engines import Failing, Held
from tests.server.media_fixtures import clip, image
from tests.server.running_server import Running, eventually

LINES = "application/x-ndjson"
LONG = clip(num_frames=400)


def request_head(*headers: str, path: str = "/parse") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def whole_request(body: bytes, accept: str) -> bytes:
    return request_head(f"Content-Length: {len(body)}", f"Accept: {accept}") + body


def hang_up(connection: socket.socket, *, abruptly: bool) -> None:
    """Close a connection; abruptly is with a reset, as when a process is killed with data unread."""
    if abruptly:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "partstream-decode"]


def check_nothing_runs_on(server: Running) -> None:
    """No request, decoder or open file is left."""
    eventually(lambda: server.service.gate.num_inside == 0, "no request is inside")
    eventually(lambda: not decoders(), "no decoder runs")
    inside = f"{server.work_dir}/"
    assert not [file for file in psutil.Process().open_files() if file.path.startswith(inside)]


@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize("form", [False, True])
def test_a_client_that_leaves_during_its_upload_leaves_nothing(
    server: Running, form: bool, abruptly: bool
) -> None:
    start, kind = b"", "video/mp4"
    if form:
        start, kind = (
            b'--b\r\nContent-Disposition: form-data; name="video"\r\n\r\n',
            "multipart/form-data; boundary=b",
        )
    with socket.create_connection(server.address) as connection:
        connection.sendall(
            request_head("Content-Length: 900000", f"Content-Type: {kind}") + start + LONG[:1000]
        )
        eventually(lambda: bool(server.files()), "the upload has begun")
        assert server.service.gate.num_inside == 1
        hang_up(connection, abruptly=abruptly)
    check_nothing_runs_on(server)


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_client_that_leaves_during_its_answer_ends_the_work(server: Running, abruptly: bool) -> None:
    parsed = server.service.metrics.frames
    before = sum(sample.value for metric in parsed.collect() for sample in metric.samples[:1])
    with socket.create_connection(server.address) as connection:
        connection.sendall(whole_request(LONG, LINES))
        received = b""
        while received.count(b'"index"') < 3:
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert decoders()
        hang_up(connection, abruptly=abruptly)
    check_nothing_runs_on(server)
    after = sum(sample.value for metric in parsed.collect() for sample in metric.samples[:1])
    assert 3 <= after - before < 400


@pytest.mark.parametrize("accept", ["application/json", "video/mp4", "application/zip"])
def test_a_client_that_leaves_before_its_answer_ends_the_work(
    serve: Callable[..., Running], engine: Engine, accept: str
) -> None:
    held = Held(engine)
    server = serve(held)
    with socket.create_connection(server.address) as connection:
        connection.sendall(whole_request(LONG, accept))
        assert held.entered.wait(60)
    held.gate.set()
    check_nothing_runs_on(server)
    frames = server.service.metrics.registry.get_sample_value("partstream_frames_total")
    assert frames is not None and frames < 400
    server.check_unharmed()


def test_a_client_that_leaves_while_it_waits_gives_its_place_away(
    serve: Callable[..., Running], engine: Engine
) -> None:
    held = Held(engine)
    server = serve(held, max_concurrent=1, queue=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.parse, image())
        assert held.entered.wait(60)
        with socket.create_connection(server.address) as connection:
            connection.sendall(whole_request(image(), "*/*"))
            eventually(lambda: server.service.gate.num_inside == 2, "the second waits")
        eventually(lambda: server.service.gate.num_inside == 1, "the second has left")
        held.gate.set()
        document(first.result(60))
    server.check_unharmed()


def test_when_the_queue_is_full_the_next_is_told_to_come_back(
    serve: Callable[..., Running], engine: Engine
) -> None:
    held = Held(engine)
    server = serve(held, max_concurrent=1, queue=1)
    with ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(server.parse, image()) for _ in range(2)]
        eventually(lambda: server.service.gate.num_inside == 2, "both are inside")
        assert server.service.gate.num_parsing <= 1
        refused = server.parse(image())
        problem(refused, "busy")
        assert int(refused.headers["retry-after"]) > 0
        assert server.http.get("/livez").status_code == 200
        held.gate.set()
        for one in inside:
            document(one.result(60))
    server.check_unharmed()


def test_no_more_are_parsed_at_a_time_than_allowed(serve: Callable[..., Running]) -> None:
    server = serve(max_concurrent=2, queue=8)
    most = 0
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(server.parse, clip(num_frames=3)) for _ in range(8)]
        while not all(one.done() for one in waiting):
            most = max(most, server.service.gate.num_parsing)
        assert [len(document(one.result())["frames"]) for one in waiting] == [3] * 8
    assert 1 <= most <= 2
    server.check_unharmed()


def test_an_upload_that_stalls_is_given_up(serve: Callable[..., Running]) -> None:
    server = serve(upload_timeout_s=0.2)
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(request_head("Content-Length: 5000") + LONG[:100])
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    server.check_unharmed()


def test_a_failure_half_way_is_the_last_line_and_what_was_sent_stands(
    serve: Callable[..., Running], engine: Engine
) -> None:
    body = clip(num_frames=5)
    server = serve(Failing(engine, EngineError("the heads failed"), after_frames=3))
    answer = server.parse(body, LINES)
    assert answer.status_code == 200
    *frames, last = [json.loads(line) for line in answer.text.splitlines()]
    assert frames == document(server.parse(body))["frames"][:3]
    assert list(last) == ["error"]
    assert (last["error"]["code"], last["error"]["detail"]) == ("engine_failed", "the heads failed")
    server.check_unharmed()


@pytest.mark.parametrize("accept", ["application/json", "video/mp4", "application/zip"])
def test_a_failure_half_way_is_a_problem_where_nothing_was_sent(
    serve: Callable[..., Running], engine: Engine, accept: str
) -> None:
    server = serve(Failing(engine, EngineError("the heads failed"), after_frames=2))
    problem(server.parse(clip(num_frames=5), accept), "engine_failed")
    server.check_unharmed()


@pytest.mark.parametrize("accept", ["application/json", LINES])
def test_a_fault_of_our_own_tells_no_secrets(
    serve: Callable[..., Running], engine: Engine, accept: str
) -> None:
    server = serve(Failing(engine, RuntimeError("swordfish"), after_frames=0))
    answer = server.parse(clip(num_frames=2), accept)
    problem(answer, "internal_error")
    assert "swordfish" not in answer.text
    server.check_unharmed()


def test_a_hundred_clients_that_come_and_go_leave_no_thread_and_no_file(server: Running) -> None:
    server.parse(image())
    process = psutil.Process()

    def num_open() -> int:
        gc.collect()
        return process.num_fds() if hasattr(process, "num_fds") else 0

    files, threads = num_open(), threading.active_count()
    for _ in range(100):
        with socket.create_connection(server.address) as connection:
            connection.sendall(request_head("Content-Length: 90000") + LONG[:500])
    # Some may still wait to be accepted when the last has gone, so the first look is not the last word.
    eventually(lambda: num_open() <= files + 3, "every connection is closed")
    check_nothing_runs_on(server)
    assert threading.active_count() <= threads + 10
