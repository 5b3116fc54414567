"""Jobs through the client and its command, against the real service."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from partstream_client import AsyncClient, Client, Progress, RejectedError, RetryPolicy
from partstream_client.commands import app
from partstream_server.engine import create_engine
from tests.server.media_fixtures import clip, song
from tests.server.running_server import Running, serving

NUM_FRAMES = 6
KEY = "a" * 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    chosen = os.environ.get("PARTSTREAM_BUNDLE")
    engine = create_engine(Path(chosen) if chosen else None)
    with serving(engine, tmp_path_factory.mktemp("work"), api_keys=f"ann:{KEY}") as running:
        yield running
    engine.close()


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url, api_key=KEY, retry=RetryPolicy(retries=0)) as made:
        yield made


@pytest.fixture(scope="module")
def video() -> bytes:
    return clip(num_frames=NUM_FRAMES)


def test_a_job_is_submitted_awaited_and_read(client: Client, video: bytes, tmp_path: Path) -> None:
    sent: list[Progress] = []
    job = client.submit(video, outputs=("ndjson", "json"), every=2, progress=sent.append)
    assert sent[-1].stage == "upload"
    seen: list[Progress] = []
    status = job.wait(progress=seen.append, poll_s=0.05)
    assert (status.state, status.num_frames, status.expected_frames) == ("done", NUM_FRAMES, NUM_FRAMES)
    assert seen[-1] == Progress("frames", NUM_FRAMES, NUM_FRAMES)
    frames = list(job.results())
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert {frame.size for frame in frames} == {(48, 64)}
    saved = job.save("json", tmp_path / "results.json")
    assert len(json.loads(saved.read_text())["frames"]) == 3
    with pytest.raises(RejectedError, match="was not asked for mp4"):
        job.save("mp4", tmp_path / "overlay.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_jobs_are_found_again_and_deleted(client: Client, video: bytes) -> None:
    job = client.submit(video, idempotency_key="mine")
    assert client.submit(video, idempotency_key="mine").job_id == job.job_id
    assert job.job_id in [one.job_id for one in client.jobs()]
    again = client.job(job.job_id)
    again.wait(poll_s=0.05)
    again.cancel()
    with pytest.raises(RejectedError, match="there is no job"):
        job.status()


def test_a_job_that_cannot_be_is_refused(client: Client) -> None:
    with pytest.raises(RejectedError) as refused:
        client.submit(song())
    assert refused.value.code == "no_video_stream"
    with pytest.raises(RejectedError, match="PARTSTREAM_SOURCE_HOSTS"):
        client.submit(url="https://example.com/clip.mp4")
    for arguments in ({}, {"source": b"x", "url": "https://example.com/"}):
        with pytest.raises(ValueError, match="either"):
            client.submit(**arguments)  # type: ignore[arg-type]


def test_a_job_that_failed_raises_its_problem(server: Running, client: Client, video: bytes) -> None:
    job = client.submit(video)
    job.wait(poll_s=0.05)
    problem = {"code": "bundle_changed", "status": 409, "title": "t", "detail": "another bundle"}
    server.service.jobs.store.update(job.job_id, problem=problem)
    with pytest.raises(RejectedError, match="another bundle"):
        job.wait()


def test_jobs_are_there_for_those_with_an_event_loop(server: Running, video: bytes) -> None:
    async def indices() -> list[int]:
        async with AsyncClient(server.url, api_key=KEY) as client:
            job = await client.submit(video)
            await job.wait(poll_s=0.05)
            return [frame.index async for frame in job.results()]

    assert asyncio.run(indices()) == list(range(NUM_FRAMES))


def run(server: Running, *arguments: str, key: str = KEY) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--server", server.url, "--api-key", key])
    return result.exit_code, result.output


def test_the_command_does_the_same(server: Running, video: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(video)
    status, output = run(server, "submit", str(path), "--outputs", "ndjson,zip", "-O", "every=3", "--wait")
    assert status == 0, output
    job_id = output.split()[0]
    assert f"{NUM_FRAMES} of {NUM_FRAMES} frames" in output
    assert job_id in run(server, "list")[1]
    assert json.loads(run(server, "show", job_id)[1])["options"]["every"] == 3
    assert run(server, "wait", job_id)[0] == 0
    assert run(server, "save", job_id, "zip", str(tmp_path / "maps.zip"))[0] == 0
    assert (tmp_path / "maps.zip").read_bytes().startswith(b"PK")
    assert run(server, "delete", job_id) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing"], "there is no job nothing"),
        (["submit"], "either a file or --url"),
        (["submit", "missing.mp4"], "missing.mp4"),
        (["submit", "missing.mp4", "-O", "every"], "NAME=VALUE"),
        (["submit", "--url", "https://example.com/a.mp4", "-O", "evry=2"], "evry"),
    ],
)
def test_the_command_says_what_is_wrong(server: Running, arguments: list[str], words: str) -> None:
    status, output = run(server, *arguments)
    assert status != 0
    assert output.startswith("error: ")
    assert words in output
    assert len(output.splitlines()) == 1


def test_the_command_says_when_nobody_is_there() -> None:
    result = CliRunner().invoke(app, ["list", "--server", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert result.output.startswith("error: no server at http://127.0.0.1:9")
