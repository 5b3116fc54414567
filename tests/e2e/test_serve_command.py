"""`partstream serve` as a process: it listens, loads, answers, and ends in good order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.server.media_fixtures import clip, image

PATIENCE_S = 60.0
WAIT = threading.Event().wait


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings of whoever runs the tests, but with theirs for the bundle."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PARTSTREAM_") and name != "PORT"
    }
    if bundle := os.environ.get("PARTSTREAM_BUNDLE"):
        bare["PARTSTREAM_BUNDLE"] = bundle
    # A free port of its own for gRPC: servers of several tests may live at the same time.
    return bare | {"PARTSTREAM_GRPC_PORT": "0"} | variables


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error::ResourceWarning", "-m", "partstream_server", "serve", *arguments]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        command(*arguments),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@dataclass(frozen=True)
class Serving:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    grpc_target: str
    log: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(directory: Path, *arguments: str, **variables: str) -> Iterator[Serving]:
    log = directory / "log"
    with ExitStack() as stack:
        process = subprocess.Popen(
            command("--port", "0", *arguments),
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("w")),
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+:\d+", line)
            assert found, (line, log.read_text())
            grpc_port = re.search(r"gRPC on port (\d+)", line)
            assert grpc_port, line
            running = Serving(process, found.group(), f"127.0.0.1:{grpc_port.group(1)}", log)
            while httpx.get(f"{running.url}/readyz").status_code != 200:
                assert process.poll() is None, log.read_text()
                WAIT(0.02)
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_a_server_prints_its_address_gets_ready_parses_and_stops_at_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        answer = httpx.post(f"{server.url}/parse", content=image(), timeout=PATIENCE_S)
        assert (answer.status_code, len(answer.json()["frames"])) == (200, 1)
        assert server.stop() == 0
        log = server.log.read_text()
    assert re.search(r" info ready bundle=\S+ version=\S+ provider=\S+ precision=\S+ seconds=", log), log
    assert re.search(r" info request method=POST path=/parse status=200 seconds=\S+ request=\w+\n", log), log
    assert "Traceback" not in log
    assert "Warning" not in log


def test_options_choose_the_engine(tmp_path: Path) -> None:
    with serving(tmp_path, "--provider", "onnxruntime", "--precision", "f32", "--threads", "1") as server:
        ready = httpx.get(f"{server.url}/readyz").json()
        assert (ready["provider"], ready["precision"]) == ("onnxruntime", "f32")


def test_log_lines_can_be_json(tmp_path: Path) -> None:
    with serving(tmp_path, PARTSTREAM_LOG_FORMAT="json") as server:
        httpx.get(f"{server.url}/nowhere")
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (request,) = (line for line in lines if line["event"] == "request" and line["path"] == "/nowhere")
    assert (request["status"], request["code"], request["level"]) == (404, "not_found", "info")


def lines_of(server: Serving, body: bytes, on_line: Callable[[int], None]) -> list[str]:
    """Parse as lines, telling how many there are so far."""
    lines: list[str] = []
    headers = {"Accept": "application/x-ndjson"}
    with httpx.stream(
        "POST", f"{server.url}/parse", content=body, headers=headers, timeout=PATIENCE_S
    ) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            lines.append(line)
            on_line(len(lines))
    return lines


def test_a_request_in_flight_is_finished_after_sigterm(tmp_path: Path, work_dir: Path) -> None:
    variables = {"PARTSTREAM_TEMP_DIR": str(work_dir), "PARTSTREAM_SHUTDOWN_TIMEOUT_S": "50"}
    with serving(tmp_path, **variables) as server:

        def stop_at_the_second(count: int) -> None:
            if count == 2:
                server.process.send_signal(signal.SIGTERM)

        lines = lines_of(server, clip(num_frames=20), stop_at_the_second)
        assert len(lines) == 20
        assert not any("error" in line for line in lines)
        assert server.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in server.log.read_text()
    assert not list(work_dir.iterdir())


def test_a_request_that_takes_too_long_is_cut_off_after_sigterm(tmp_path: Path, work_dir: Path) -> None:
    variables = {"PARTSTREAM_TEMP_DIR": str(work_dir), "PARTSTREAM_SHUTDOWN_TIMEOUT_S": "1"}
    with serving(tmp_path, **variables) as server:
        body, counts = clip(num_frames=1000), []

        def stop_at_the_second(count: int) -> None:
            counts.append(count)
            if count == 2:
                server.process.send_signal(signal.SIGTERM)

        started = time.monotonic()
        *_, last = lines_of(server, body, stop_at_the_second)
        assert json.loads(last)["error"]["code"] == "going_away"
        assert server.process.wait(PATIENCE_S) == 0
        assert 2 <= len(counts) < 1000
        assert time.monotonic() - started < 30
        assert "Traceback" not in server.log.read_text()
    assert not list(work_dir.iterdir())


def test_ctrl_c_is_a_good_end_too(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 1
    assert (
        ended.stderr
        == f"error: port {port} on 127.0.0.1 is in use; choose another one with --port or PARTSTREAM_PORT\n"
    )


def test_a_grpc_port_in_use_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", "0", PARTSTREAM_GRPC_PORT=str(port))
    assert ended.returncode == 1
    assert f"error: gRPC cannot listen on 127.0.0.1:{port}; choose another port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_port_is_taken_from_the_environment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} on" in run(PORT=str(port)).stderr
        assert f"port {port} on" in run(PORT="1", PARTSTREAM_PORT=str(port)).stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - refused
def test_an_address_that_others_reach_is_refused_without_permission(host: str) -> None:
    ended = run("--host", host, "--port", "0")
    assert ended.returncode == 2
    assert "--allow-remote" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_address_that_others_reach_is_taken_with_permission(how: str, tmp_path: Path) -> None:
    arguments = ["--host", "0.0.0.0"] + (["--allow-remote"] if how == "option" else [])  # noqa: S104
    variables = {"PARTSTREAM_ALLOW_REMOTE": "1"} if how == "variable" else {}
    with serving(tmp_path, *arguments, **variables) as server:
        assert server.url.startswith("http://0.0.0.0:")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (
            {"PARTSTREAM_THREDS": "2"},
            "PARTSTREAM_THREDS: there is no such setting; did you mean PARTSTREAM_THREADS?",
        ),
        ({"PARTSTREAM_MAX_UPLOAD_BYTES": "lots"}, "PARTSTREAM_MAX_UPLOAD_BYTES: "),
        ({"PORT": "http"}, "PORT: "),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name(variables: dict[str, str], named: str) -> None:
    ended = run(**variables)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {named}")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--bundle", "/nowhere"], "bundle.json"), (["--provider", "cuda"], "cuda")],
)
def test_a_server_whose_engine_cannot_be_opened_ends_and_says_why(arguments: list[str], said: str) -> None:
    ended = run("--port", "0", *arguments)
    assert ended.returncode == 1
    assert re.search(rf"^error: .*{said}", ended.stderr, re.MULTILINE), ended.stderr
    assert "Traceback" not in ended.stderr
