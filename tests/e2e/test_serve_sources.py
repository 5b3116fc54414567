"""Pulled sources of a server process that is told to stop."""

import signal
from pathlib import Path

import httpx

from partstream.v1 import service_pb2
from tests.e2e.test_serve_command import serving
from tests.e2e.test_serve_streams import stub_of
from tests.server.media_fixtures import clip

MINUTE = 25 * 60


def test_who_follows_a_source_is_told_that_the_server_stops_and_that_the_source_has_ended(
    tmp_path: Path,
) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip(num_frames=MINUTE))
    with serving(tmp_path, PARTSTREAM_SOURCE_FOLDER=str(tmp_path)) as server, stub_of(server) as stub:
        answer = httpx.post(f"{server.url}/v1/sources", json={"url": f"file://{tmp_path}/clip.mp4"})
        assert answer.status_code == 201, answer.text
        request = service_pb2.SubscribeSourceRequest(source_id=answer.json()["id"])
        call = stub.SubscribeSource(request, timeout=120)
        assert next(call).HasField("opened")
        assert next(call).HasField("answer")
        server.process.send_signal(signal.SIGTERM)
        rest = list(call)
        assert "going_away" in [message.WhichOneof("response") for message in rest]
        assert rest[-1].ended.state == service_pb2.SOURCE_STATE_STOPPED
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log.read_text()
