"""The doors of HTTP and WebSocket: foreign hosts, silent sockets, slow uploads and crowds of one address."""

import socket
from collections.abc import Callable
from contextlib import ExitStack

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from partstream_server.config.settings import Settings
from partstream_server.security.errors import HostError
from partstream_server.security.host import HostRule
from partstream_server.service.uploads import UploadLimits
from tests.server.answers import problem
from tests.server.media_fixtures import image
from tests.server.running_server import PATIENCE_S, Running, eventually

Serve = Callable[..., Running]
KEY = "a-key-for-this-test-only"


def address(server: Running) -> str:
    return server.url.replace("http", "ws", 1) + "/v1/stream"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "evil.example",
        "127.0.0.1.evil.example",
        "user@127.0.0.1",
        "2130706433",
        "localhost.",
        "::",
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/models"])
def test_a_rebound_name_reads_nothing(server: Running, host: str, path: str) -> None:
    answer = server.http.get(path, headers={"Host": host})
    if host == "localhost.":
        assert answer.status_code in (200, 404)
    else:
        problem(answer, "foreign_host")


def test_a_rebound_name_parses_nothing_and_opens_no_stream(server: Running) -> None:
    host = f"evil.example:{server.address[1]}"
    answer = server.http.post("/parse", content=image(), headers={"Host": host})
    problem(answer, "foreign_host")
    headers = {"Origin": f"http://{host}"}
    with pytest.raises(InvalidStatus) as caught, socket.create_connection(server.address) as connection:
        connect(f"ws://{host}/v1/stream", sock=connection, additional_headers=headers).close()
    assert caught.value.response.status_code == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:1", "LOCALHOST", "a.localhost", "[::1]:8000", "10.0.0.7:80"]
)
def test_addresses_and_localhost_are_this_service(server: Running, host: str) -> None:
    assert server.http.get("/livez", headers={"Host": host}).status_code == 200


def test_other_names_are_allowed_by_a_setting_or_where_the_address_is_not_a_loopback_one() -> None:
    listed = HostRule.of(
        Settings(allowed_hosts="parse.example.com, *.inner", host="192.0.2.1", allow_remote=True)
    )
    for name in ("parse.example.com:443", "PARSE.example.com", "a.inner", "127.0.0.1"):
        listed.check(name)
    with pytest.raises(HostError, match=r"not 'example\.com'"):
        listed.check("example.com")
    HostRule.of(Settings(host="192.0.2.1", allow_remote=True)).check("any.example")
    HostRule.of(Settings()).check(None)


@settings(deadline=None, max_examples=50)
@given(host=st.text(max_size=40))
def test_whatever_a_header_holds_is_allowed_or_a_host_error(host: str) -> None:
    try:
        HostRule().check(host)
    except HostError:
        return
    assert "localhost" in host.lower() or any(c.isdigit() for c in host) or ":" in host


@pytest.mark.parametrize("keys", [None, f"me:{KEY}"])
def test_a_socket_without_a_config_is_closed_and_counted(serve: Serve, keys: str | None) -> None:
    server = serve(opening_timeout_s=2, stream_idle_s=300, api_keys=keys)
    with connect(address(server)) as silent:
        assert server.service.openings.num_inside == 1
        assert b"partstream_opening_sockets 1.0" in server.service.metrics.render()
        assert "idle_timeout" in str(silent.recv(PATIENCE_S))
        with pytest.raises(ConnectionClosed):
            silent.recv(PATIENCE_S)
    eventually(lambda: server.service.openings.num_inside == 0, "the socket is forgotten")


def test_a_stream_with_a_config_is_not_held_to_the_time_of_the_config(serve: Serve) -> None:
    server = serve(opening_timeout_s=0.2, stream_idle_s=1.0)
    with connect(address(server)) as client:
        client.send("{}")
        assert "opened" in str(client.recv(PATIENCE_S))
        assert server.service.openings.num_inside == 0
        with pytest.raises(TimeoutError):
            client.recv(0.5)
        assert "idle_timeout" in str(client.recv(PATIENCE_S))


def test_sockets_that_wait_for_their_config_are_bounded(serve: Serve) -> None:
    server = serve(max_streams=1)
    with ExitStack() as open_ones:
        for _ in range(8):
            open_ones.enter_context(connect(address(server)))
        with pytest.raises(InvalidStatus) as caught:
            connect(address(server))
        assert caught.value.response.status_code == 503
    eventually(lambda: server.service.openings.num_inside == 0, "all are forgotten")
    with connect(address(server)) as client:
        client.send("{}")
        assert "opened" in str(client.recv(PATIENCE_S))


def test_an_upload_may_take_its_pause_and_the_time_of_its_bytes() -> None:
    limits = UploadLimits(max_bytes=10**9, timeout_s=60, min_rate=1000)
    assert limits.wait_s(num_bytes=0, passed_s=0) == 60
    assert limits.wait_s(num_bytes=1, passed_s=50) == pytest.approx(10.001)
    assert limits.wait_s(num_bytes=2, passed_s=61) == 0
    assert limits.wait_s(num_bytes=100_000, passed_s=110) == pytest.approx(50)
    assert limits.wait_s(num_bytes=10**8, passed_s=3600) == 60
    assert UploadLimits(max_bytes=1, timeout_s=60).wait_s(num_bytes=1, passed_s=10**6) == 60


def test_clients_that_send_a_byte_at_a_time_hold_no_place(serve: Serve) -> None:
    server = serve(upload_timeout_s=0.6, min_upload_rate=10_000, max_concurrent=1, queue=1)
    head = b"POST /parse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with ExitStack() as both:
        slow = [both.enter_context(socket.create_connection(server.address)) for _ in range(2)]
        for connection in slow:
            connection.sendall(head)
            connection.settimeout(0.1)
        answers: dict[int, bytes] = {}
        for _ in range(600):
            for number, connection in enumerate(slow):
                if number not in answers:
                    connection.sendall(b"x")
                    try:
                        answers[number] = connection.recv(4096)
                    except TimeoutError:
                        continue
            if len(answers) == len(slow):
                break
        assert sorted(answers) == [0, 1]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers.values())
    server.check_unharmed()


def test_an_address_has_so_many_connections_and_a_place_again_when_one_closes(serve: Serve) -> None:
    server = serve(max_connections=3)
    with ExitStack() as stack:
        server.http.close()
        sockets = [stack.enter_context(socket.create_connection(server.address)) for _ in range(2)]
        held = stack.enter_context(connect(address(server)))
        refused = httpx.get(f"{server.url}/livez")
        assert "3 connections" in problem(refused, "busy")["detail"]
        assert refused.headers["Retry-After"]
        sockets[0].close()
        eventually(lambda: httpx.get(f"{server.url}/livez").status_code == 200, "there is room again")
        held.close()
        eventually(lambda: httpx.get(f"{server.url}/livez").status_code == 200, "there is room again")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nHost: local", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGE"]
)
def test_a_head_that_never_ends_is_not_waited_for(serve: Serve, sent: bytes) -> None:
    server = serve(opening_timeout_s=0.3)
    with socket.create_connection(server.address, timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics"])
def test_monitors_may_ask_for_the_head_alone(server: Running, path: str) -> None:
    answer, whole = server.http.head(path), server.http.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == whole.headers["content-type"]
