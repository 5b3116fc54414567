"""Pulled sources: what is fetched, what is refused, and what is left after a stop."""

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from partstream_core.errors import OptionError
from partstream_core.results import frame_from_json
from partstream_server.sources.address import Rules, check_url, is_public, without_password
from partstream_server.sources.errors import SourceForbiddenError
from tests.server.answers import problem
from tests.server.media_fixtures import clip, playlist
from tests.server.running_server import PATIENCE_S, Running, eventually

Serve = Callable[..., Running]
LOCAL = {"source_hosts": "127.0.0.1,localhost", "source_private": True}


@contextmanager
def web(answers: dict[str, bytes | tuple[int, str] | None]) -> Iterator[str]:
    """A web server: bodies, redirects (status, target), and paths that never end (None)."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path, b"")
            if isinstance(answer, tuple):
                self.send_response(answer[0])
                self.send_header("Location", answer[1])
                self.end_headers()
                return
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            if answer is not None:
                self.wfile.write(answer)
                return
            self.wfile.write(clip(form="mpegts", num_frames=30))
            self.wfile.flush()
            over.wait(PATIENCE_S)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def start(server: Running, url: str, **options: Any) -> dict[str, Any]:
    answer = server.http.post("/v1/sources", json={"url": url, **options})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/sources/{document['id']}"
    return document


def inspect(server: Running, source: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = server.http.get(f"/v1/sources/{source['id']}").json()
    return document


def failed(server: Running, source: dict[str, Any]) -> None:
    eventually(lambda: inspect(server, source)["state"] == "failed", "it failed")


def events(server: Running, source: dict[str, Any], *, most: int | None = None) -> list[dict[str, Any]]:
    """Server-sent events, as a client of four lines reads them."""
    found: list[dict[str, Any]] = []
    with server.http.stream("GET", f"/v1/sources/{source['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if most is not None and len(found) == most:
                break
    return found


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("source"))


def test_a_file_is_parsed_to_its_end(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip(num_frames=8))
    server = serve(source_folder=tmp_path)
    source = start(server, f"file://{tmp_path}/clip.mp4", policy="block")
    eventually(lambda: inspect(server, source)["state"] == "ended", "the file has ended")
    assert inspect(server, source)["num_frames"] == 8
    eventually(lambda: threads() == [], "no thread is left")
    assert server.http.delete(f"/v1/sources/{source['id']}").status_code == 204
    problem(server.http.get(f"/v1/sources/{source['id']}"), "not_found")


def test_a_source_is_shown_as_jpegs_until_its_end(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip(num_frames=20))
    server = serve(source_folder=tmp_path)
    source = start(server, (tmp_path / "clip.mp4").as_uri())
    pictures = []
    with server.http.stream("GET", f"/v1/sources/{source['id']}/mjpeg?layers=boxes") as answer:
        kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
        assert kind == "multipart/x-mixed-replace"
        body = b"".join(answer.iter_bytes())
    assert body.endswith(f"--{boundary}--\r\n".encode())
    for part in body.split(f"--{boundary}\r\n".encode())[1:]:
        head, _, jpeg = part.partition(b"\r\n\r\n")
        assert head.startswith(b"Content-Type: image/jpeg")
        with PIL.Image.open(io.BytesIO(jpeg)) as opened:
            pictures.append(opened.size)
    assert pictures
    assert set(pictures) == {(64, 48)}
    blind = start(server, (tmp_path / "clip.mp4").as_uri(), masks="none")
    problem(server.http.get(f"/v1/sources/{blind['id']}/mjpeg"), "bad_option")
    problem(server.http.get(f"/v1/sources/{source['id']}/mjpeg?layers=hats"), "bad_option")
    problem(server.http.get("/v1/sources/nothing/mjpeg"), "not_found")


def test_an_http_stream_is_followed_by_events_and_over_a_websocket_and_stops(serve: Serve) -> None:
    server = serve(**LOCAL)
    with web({"/live": None}) as url:
        source = start(server, f"{url}/live", policy="block", masks="none")
        eventually(lambda: inspect(server, source)["state"] == "running", "it runs")
        seen = events(server, source, most=3)
        assert [one["type"] for one in seen] == ["opened", "answer", "answer"]
        assert frame_from_json(seen[1]["result"]).index == seen[1]["index"]
        assert (seen[1]["width"], seen[1]["height"]) == (64, 48)
        address = server.url.replace("http", "ws", 1) + f"/v1/sources/{source['id']}/stream"
        with connect(address) as connection:
            assert json.loads(connection.recv(PATIENCE_S))["type"] == "opened"
            assert server.http.delete(f"/v1/sources/{source['id']}").status_code == 204
            with pytest.raises(ConnectionClosed):
                while True:
                    connection.recv(PATIENCE_S)
        assert threads() == []
        assert not server.service.hub.streams
        assert server.http.get("/v1/sources").json() == {"sources": []}


def test_a_source_that_breaks_off_is_pulled_again(serve: Serve) -> None:
    server = serve(**LOCAL)
    server.service.sources._backoff_s = (0.05,)  # so that nobody waits
    with web({"/short": clip(form="mpegts", num_frames=5)}) as url:
        source = start(server, f"{url}/nothing", policy="block")
        eventually(lambda: "404" in inspect(server, source)["problem"], "the refusal is told")
        again = start(server, f"{url}/short", policy="block")
        eventually(lambda: inspect(server, again)["num_frames"] >= 5, "it was pulled")
        for one in (source, again):
            assert server.http.delete(f"/v1/sources/{one['id']}").status_code == 204
    assert threads() == []


def test_without_reconnect_the_first_failure_is_the_end(serve: Serve) -> None:
    server = serve(**LOCAL)
    with web({"/poem": b"roses are red", "/list": playlist("file:///etc/passwd")}) as url:
        for path in ("/poem", "/list", "/nothing"):
            source = start(server, f"{url}{path}", reconnect=False)
            failed(server, source)
            assert inspect(server, source)["problem"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"url": "ftp://127.0.0.1/x"}, "bad_option", "ftp"),
        ({"url": "poem"}, "bad_option", "poem"),
        ({"url": "http://"}, "bad_option", "host"),
        ({"url": "http://127.0.0.1:0/"}, "bad_option", "host"),
        ({"url": "http://127.0.0.1:99999/"}, "bad_option", "url"),
        ({"url": "http://127.0.0.1/a b"}, "bad_option", "spaces"),
        ({"url": ""}, "bad_option", "url"),
        ({}, "bad_option", "url"),
        ({"url": "http://127.0.0.1/", "speed": 2}, "unknown_option", "speed"),
        ({"url": "http://127.0.0.1/", "every": 0}, "bad_option", "every"),
        ({"url": "http://other.example/"}, "source_forbidden", "PARTSTREAM_SOURCE_HOSTS"),
        ({"url": "file:///etc/passwd"}, "source_forbidden", "PARTSTREAM_SOURCE_FOLDER"),
        ({"url": "file://elsewhere/etc/passwd"}, "bad_option", "elsewhere"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(
    serve: Serve, body: dict[str, Any], code: str, said: str
) -> None:
    server = serve(**LOCAL)
    assert said in problem(server.http.post("/v1/sources", json=body), code)["detail"]
    assert threads() == []


def test_what_is_no_json_and_what_another_site_sends_is_refused(serve: Serve) -> None:
    server = serve(**LOCAL)
    headers = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"[" * 50_000):
        problem(server.http.post("/v1/sources", content=content, headers=headers), "bad_option")
    problem(
        server.http.post("/v1/sources", content=b"{}", headers={"Content-Type": "text/plain"}), "bad_option"
    )
    problem(server.http.post("/v1/sources", content=b" " * 70_000, headers=headers), "upload_too_large")
    foreign = headers | {"Origin": "http://evil.example"}
    problem(server.http.post("/v1/sources", content=b"{}", headers=foreign), "foreign_origin")


def test_by_default_nothing_is_pulled_from_anywhere(server: Running) -> None:
    for url in ("http://example.com/", "rtsp://127.0.0.1/", "file:///etc/hosts"):
        problem(server.http.post("/v1/sources", json={"url": url}), "source_forbidden")


def test_sources_beyond_the_limit_are_refused(serve: Serve) -> None:
    server = serve(**LOCAL, max_sources=1)
    with web({"/live": None}) as url:
        source = start(server, f"{url}/live")
        problem(server.http.post("/v1/sources", json={"url": f"{url}/live"}), "busy")
        server.http.delete(f"/v1/sources/{source['id']}")
        second = start(server, f"{url}/live")
        server.http.delete(f"/v1/sources/{second['id']}")


def test_a_source_belongs_to_the_key_that_started_it(serve: Serve) -> None:
    server = serve(**LOCAL, api_keys=f"anna:{'a' * 16},ben:{'b' * 16}")
    server.http.headers["X-API-Key"] = "a" * 16
    with (
        web({"/live": None}) as url,
        httpx.Client(base_url=server.url, headers={"X-API-Key": "b" * 16}) as ben,
    ):
        source = start(server, f"{url}/live")
        problem(ben.get(f"/v1/sources/{source['id']}"), "not_found")
        problem(ben.delete(f"/v1/sources/{source['id']}"), "not_found")
        assert ben.get("/v1/sources").json() == {"sources": []}
        address = server.url.replace("http", "ws", 1) + f"/v1/sources/{source['id']}/stream"
        with pytest.raises(InvalidStatus), connect(address, additional_headers={"X-API-Key": "b" * 16}):
            pass
        server.http.delete(f"/v1/sources/{source['id']}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_a_forbidden_place_is_not_followed(serve: Serve, status: int, tmp_path: Path) -> None:
    server = serve(**LOCAL)
    places = {
        "/1": (status, "http://other.example/"),
        "/2": (status, "file:///etc/passwd"),
        "/3": (status, "/3"),
    }
    with web(dict(places)) as url:
        for path in places:
            source = start(server, f"{url}{path}", reconnect=False)
            failed(server, source)
            assert inspect(server, source)["num_connections"] == 0


def test_a_name_that_stands_for_a_private_address_is_not_pulled(serve: Serve) -> None:
    server = serve(source_hosts="*")
    with web({"/live": None}) as url:
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"):  # noqa: S104
            for scheme in ("http", "rtsp"):
                source = start(server, f"{scheme}://{host}:{port}/live")
                failed(server, source)
                assert "private" in inspect(server, source)["problem"]


@pytest.mark.parametrize(
    "form", ["plain", "three bytes at a time", "two spaces", "no reason", "tab", "after data", "REDIRECT"]
)
def test_a_camera_that_redirects_is_not_followed(serve: Serve, form: str) -> None:
    server = serve(**LOCAL)
    reached = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as camera, socket.create_server(("127.0.0.1", 0)) as trap:

        def answer() -> None:
            connection, _ = camera.accept()
            with connection:
                asked = connection.recv(4096)
                number = asked.split(b"CSeq: ")[1].split(b"\r\n")[0]
                place = f"rtsp://127.0.0.1:{trap.getsockname()[1]}/".encode()
                first = {
                    "two spaces": b"RTSP/1.0  302 Moved", "no reason": b"RTSP/1.0 302",
                    "tab": b"RTSP/1.0\t302\tMoved", "REDIRECT": b"REDIRECT " + place + b" RTSP/1.0",
                }.get(form, b"RTSP/1.0 302 Moved")  # fmt: skip
                message = first + b"\r\nCSeq: " + number + b"\r\nLocation: " + place + b"\r\n\r\n"
                if form == "after data":
                    message = b"$\x01\x00\x08RTSP/1.0" + message
                step = 3 if form.startswith("three") else len(message)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    for start in range(0, len(message), step):
                        connection.sendall(message[start : start + step])
                    connection.recv(1)

        def wait() -> None:
            trap.settimeout(2)
            try:
                trap.accept()[0].close()
                reached.set()
            except TimeoutError:
                pass

        helpers = [threading.Thread(target=answer), threading.Thread(target=wait)]
        for helper in helpers:
            helper.start()
        source = start(server, f"rtsp://127.0.0.1:{camera.getsockname()[1]}/x", reconnect=False)
        eventually(lambda: inspect(server, source)["state"] == "failed", "it failed")
        for helper in helpers:
            helper.join()
    assert "redirects" in inspect(server, source)["problem"]
    assert not reached.is_set()
    assert threads() == []


def test_a_camera_that_says_nothing_is_let_go_by_a_stop(serve: Serve) -> None:
    server = serve(**LOCAL)
    with socket.create_server(("127.0.0.1", 0)) as camera:
        source = start(server, f"rtsp://127.0.0.1:{camera.getsockname()[1]}/x")
        connection, _ = camera.accept()
        began_s = time.monotonic()
        assert server.http.delete(f"/v1/sources/{source['id']}").status_code == 204
        assert time.monotonic() - began_s < 15  # far below the time after which silence counts as an end
        connection.close()
    assert threads() == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - refused
        ("255.255.255.255", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
    ],
)
def test_private_addresses_are_known_in_every_spelling(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_files_outside_of_the_folder_are_refused_links_included(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    rules = Rules(folder=folder)
    check_url(f"file://{folder}/clip.mp4", rules)
    for path in ("../secret", "link", "%2e%2e/secret", "a/../../secret"):
        with pytest.raises(SourceForbiddenError):
            check_url(f"file://{folder}/{path}", rules)
    with pytest.raises(OptionError):
        check_url(f"file://{folder}/%00", rules)


def test_hosts_are_matched_whole() -> None:
    rules = Rules(hosts=("*.example.com", "10.0.0.7"))
    for url in ("rtsp://cam.example.com/x", "http://CAM.EXAMPLE.COM./", "https://10.0.0.7/"):
        check_url(url, rules)
    for url in (
        "http://example.com/",
        "http://cam.example.com.evil.org/",
        "http://cam.example.com@evil.org/",
    ):
        with pytest.raises(SourceForbiddenError):
            check_url(url, rules)


def test_passwords_of_cameras_are_not_shown() -> None:
    assert without_password("rtsp://anna:secret@cam/1") == "rtsp://...@cam/1"
    assert without_password("rtsp://cam/1") == "rtsp://cam/1"
