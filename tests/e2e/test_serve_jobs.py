"""Jobs of a server process that is killed again and again."""

import json
import signal
from pathlib import Path

import httpx
import pytest

from partstream_server.benchmarks.drawn_clip import write_figures
from tests.e2e.test_serve_command import Serving, serving
from tests.server.running_server import eventually

NUM_FRAMES = 1600
"""Three chunks and a bit."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=320, height=192, num_frames=NUM_FRAMES)
    return path


def state(server: Serving, job_id: str) -> dict[str, object]:
    document: dict[str, object] = httpx.get(f"{server.url}/v1/jobs/{job_id}").json()
    return document


def num_parsed(server: Serving, job_id: str) -> int:
    progress = state(server, job_id)["progress"]
    assert isinstance(progress, dict)
    return int(progress["num_frames"])


def submit(server: Serving, video: Path) -> str:
    query = {"every": "8", "schedule": "causal"}
    answer = httpx.post(f"{server.url}/v1/jobs", content=video.read_bytes(), params=query)
    return str(answer.json()["id"])


def kill_in_work(server: Serving, job_id: str, *, after_frames: int) -> None:
    """Kill a server once a job has parsed so many frames."""
    eventually(lambda: state(server, job_id)["state"] == "parsing", "it is in work")
    eventually(lambda: num_parsed(server, job_id) >= after_frames, f"{after_frames} frames are parsed")
    server.process.kill()
    assert server.process.wait(60) == -signal.SIGKILL


def results(folder: Path, video: Path, kills: tuple[int, ...]) -> list[str]:
    """Lines of a job whose server is killed after so many frames, each time."""
    folder.mkdir()
    settings = {"PARTSTREAM_DATA_DIR": str(folder / "data")}
    job_id = None
    for after_frames in kills:
        with serving(folder, **settings) as server:
            job_id = job_id or submit(server, video)
            kill_in_work(server, job_id, after_frames=after_frames)
    with serving(folder, **settings) as server:
        job_id = job_id or submit(server, video)
        path = f"{server.url}/v1/jobs/{job_id}"
        eventually(lambda: httpx.get(path).json()["state"] == "done", "it is done")
        assert httpx.get(f"{path}/events").text.count("event: interrupted") == len(kills)
        lines = httpx.get(f"{path}/results/ndjson").text.splitlines()
        assert server.stop() == 0
    return lines


@pytest.mark.slow
def test_a_job_outlives_kills(video: Path, tmp_path: Path) -> None:
    undisturbed = results(tmp_path / "undisturbed", video, ())
    assert results(tmp_path / "killed", video, (0, 500, 1000)) == undisturbed
    assert [json.loads(line)["index"] for line in undisturbed] == list(range(0, NUM_FRAMES, 8))
