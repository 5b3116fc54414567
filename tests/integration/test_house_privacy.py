"""The server tells nobody that it runs, nor what it sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.server.media_fixtures import clip

# Python reports every connection and every look-up of a host, in all threads, to audit hooks.
PARSE_UNDER_WATCH = """
import atexit, json, sys
calls = []
def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        calls.append(f"{event} {arguments[1:] if event == 'socket.connect' else arguments}")
sys.addaudithook(watch)
atexit.register(lambda: print(json.dumps(calls), file=open(sys.argv.pop(), "w")))
report = sys.argv[-1]
sys.argv = ["partstream", *sys.argv[1:-1]]
from partstream_server.app.cli import app
try:
    app()
finally:
    sys.argv.append(report)
"""


def watched(*arguments: str, report: Path, home: Path) -> list[str]:
    """Every connection that a run of the command tried, in a home where nothing was ever declined.

    Runtimes hold back by themselves where they take the machine for a test machine, so nothing may say so.
    """
    hints = {
        "CI",
        "JENKINS_URL",
        "GITHUB_ACTIONS",
        "TF_BUILD",
        "ORT_DISABLE_TELEMETRY",
        "ORT_RUNNING_UNIT_TESTS",
    }
    env = {name: value for name, value in os.environ.items() if name not in hints}
    done = subprocess.run(
        [sys.executable, "-c", PARSE_UNDER_WATCH, *arguments, str(report)],
        capture_output=True,
        text=True,
        check=False,
        env=env | {"HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    calls: list[str] = json.loads(report.read_text("utf-8"))
    return calls


@pytest.mark.parametrize("provider", ["openvino", "onnxruntime"])
def test_parsing_connects_to_nobody_and_leaves_nothing_at_home(tmp_path: Path, provider: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    picture = tmp_path / "grey.png"
    assert cv2.imwrite(str(picture), np.full((64, 96, 3), 128, np.uint8))
    video = tmp_path / "clip.mp4"
    video.write_bytes(clip())

    calls = watched(
        "parse",
        str(picture),
        str(video),
        "-o",
        str(tmp_path / "out"),
        "--provider",
        provider,
        report=tmp_path / "calls.json",
        home=home,
    )

    assert calls == []
    assert list(home.rglob("*")) == []
    assert (tmp_path / "out" / "clip" / "results.ndjson").exists()


def test_the_watch_does_see_a_connection(tmp_path: Path) -> None:
    report = tmp_path / "calls.json"
    look_up = "import socket; app = lambda: socket.getaddrinfo('localhost', 80)"
    script = PARSE_UNDER_WATCH.replace("from partstream_server.app.cli import app", look_up)
    subprocess.run([sys.executable, "-c", script, str(report)], check=True)
    assert len(json.loads(report.read_text("utf-8"))) == 1
