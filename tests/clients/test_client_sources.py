"""Sources that a real server pulls, started, followed and stopped by the client."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from partstream_client import AsyncClient, Client, RejectedError, ServerFailedError, SourceFrame
from partstream_client.streaming.answers import Skipped
from tests.clients.server_process import ServerProcess, server_process

pytestmark = pytest.mark.slow

NUM_FRAMES, WIDTH, HEIGHT = 12, 96, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    variables = {"PARTSTREAM_SOURCE_FOLDER": str(folder)}
    with server_process(tmp_path_factory.mktemp("server"), **variables) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def url(folder: Path) -> str:
    """A clip without people, so that nothing but the messages says how large its frames are."""
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for shade in range(NUM_FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return f"file://{path}"


def test_a_source_is_followed_to_its_end_and_forgotten(server: ServerProcess, url: str) -> None:
    with Client(server.url, streams=server.streams) as client:
        source_id = client.start_source(url, policy="block", every=2)
        answers = list(client.subscribe(source_id, deadline_s=120))
        found = [answer for answer in answers if isinstance(answer, SourceFrame)]
        assert found
        assert all(frame.index % 2 == 0 and frame.part_map.shape == (HEIGHT, WIDTH) for frame in found)
        assert all(0 < frame.latency.network_ms <= frame.latency.total_ms for frame in found)
        assert {type(answer) for answer in answers} <= {SourceFrame, Skipped}
        assert [answer.index for answer in answers] == sorted({answer.index for answer in answers})
        client.stop_source(source_id)
        with pytest.raises(RejectedError, match="not_found"):
            list(client.subscribe(source_id))
        with pytest.raises(RejectedError, match="not_found"):
            client.stop_source(source_id)


def test_a_source_that_cannot_be_read_fails_for_its_subscribers(server: ServerProcess, folder: Path) -> None:
    (folder / "poem.mp4").write_text("roses are red")

    async def follow() -> None:
        async with AsyncClient(server.url, streams=server.streams) as client:
            source_id = await client.start_source(f"file://{folder}/poem.mp4", reconnect=False)
            async for _ in client.subscribe(source_id, deadline_s=60):
                pass

    with pytest.raises(ServerFailedError, match="source_failed"):
        asyncio.run(follow())


def test_a_source_that_may_not_be_pulled_is_refused(server: ServerProcess) -> None:
    with Client(server.url) as client, pytest.raises(RejectedError, match="source_forbidden"):
        client.start_source("file:///etc/passwd")
