"""The container in a real engine: build, up, healthy, a clip, down. Skips where no engine answers."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from partstream_client import Client
from tests.server.media_fixtures import clip
from tests.server.running_server import eventually

PORT = "18000"
GRPC_PORT = "15051"
PROJECT = "partstream-under-test"

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1500)]


def docker(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments],
        cwd=repository,
        env=os.environ | {"PORT": PORT, "GRPC_PORT": GRPC_PORT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def container(repository: Path) -> Iterator[str]:
    """The id of the service's container, healthy."""
    if not (answers("docker", "info") and answers("docker", "compose", "version")):
        pytest.skip("no Docker engine with compose answers here")
    compose = ["compose", "--project-name", PROJECT, "--file", "docker/compose.yaml"]
    docker(repository, *compose, "build")
    docker(repository, *compose, "up", "--detach")
    try:
        name = docker(repository, *compose, "ps", "--quiet").strip()
        eventually(lambda: state(repository, name)["Health"]["Status"] == "healthy", "the service is healthy")
        yield name
    finally:
        docker(repository, *compose, "down", "--volumes")


def state(repository: Path, container: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        docker(repository, "inspect", "--format", "{{json .State}}", container)
    )
    return found


def test_a_clip_goes_through_the_container_and_leaves_no_file(repository: Path, container: str) -> None:
    with Client(f"http://127.0.0.1:{PORT}") as client:
        assert len(client.parse(clip(num_frames=6)).frames) == 6
    assert docker(repository, "exec", container, "sh", "-c", 'ls -A "$PARTSTREAM_TEMP_DIR"') == ""


def test_the_container_has_no_rights_and_no_torch(repository: Path, container: str) -> None:
    assert int(docker(repository, "exec", container, "id", "-u")) > 0
    status = docker(repository, "exec", container, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    find = "import importlib.util as u; print(u.find_spec('torch'))"
    assert docker(repository, "exec", container, "python3", "-c", find).strip() == "None"


def test_the_service_is_there_on_this_machine_alone(repository: Path, container: str) -> None:
    published = set(docker(repository, "port", container).splitlines())
    assert published == {f"8000/tcp -> 127.0.0.1:{PORT}", f"50051/tcp -> 127.0.0.1:{GRPC_PORT}"}
    assert httpx.get(f"http://127.0.0.1:{PORT}/readyz").json()["status"] == "ready"


def test_an_idle_container_stops_at_once_and_starts_again(repository: Path, container: str) -> None:
    began = time.monotonic()
    docker(repository, "stop", container)
    assert time.monotonic() - began < 8
    assert int(docker(repository, "inspect", "--format", "{{.State.ExitCode}}", container)) == 0
    docker(repository, "start", container)
    eventually(lambda: state(repository, container)["Health"]["Status"] == "healthy", "healthy again")
