"""Pulled sources, followed over gRPC."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from partstream.v1 import service_pb2
from partstream_server.engine import Engine
from tests.server.media_fixtures import clip
from tests.server.running_grpc import RunningGrpc, serving_grpc
from tests.server.running_server import PATIENCE_S, eventually

NUM_FRAMES, WIDTH, HEIGHT = 30, 96, 64
MINUTE = 25 * 60
KEYS = {"anna": "a" * 16, "ben": "b" * 16}


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[RunningGrpc]:
    """A server that may read the files of a folder, for two holders of keys."""
    (tmp_path / "short.mp4").write_bytes(clip(num_frames=NUM_FRAMES, width=WIDTH, height=HEIGHT))
    (tmp_path / "long.mp4").write_bytes(clip(num_frames=MINUTE))
    keys = ",".join(f"{name}:{key}" for name, key in KEYS.items())
    with serving_grpc(engine, tmp_path / "work", source_folder=tmp_path, api_keys=keys) as running:
        yield running
        eventually(lambda: not running.service.hub.streams, "no stream is open")


def start(server: RunningGrpc, file: Path, **options: Any) -> str:
    document = {"url": f"file://{file}", **options}
    answer = httpx.post(f"{server.url}/v1/sources", json=document, headers={"X-API-Key": KEYS["anna"]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def stop(server: RunningGrpc, source_id: str) -> None:
    address = f"{server.url}/v1/sources/{source_id}"
    assert httpx.delete(address, headers={"X-API-Key": KEYS["anna"]}, timeout=60).status_code == 204


def subscribe(stub: Any, source_id: str, name: str = "anna") -> Any:
    request = service_pb2.SubscribeSourceRequest(source_id=source_id)
    return stub.SubscribeSource(request, timeout=PATIENCE_S, metadata=(("x-api-key", KEYS[name]),))


def test_two_subscribers_see_a_source_to_its_end(server: RunningGrpc, tmp_path: Path) -> None:
    with server.stub() as stub:
        source_id = start(server, tmp_path / "short.mp4", policy="block", every=2)
        first, second = subscribe(stub, source_id), subscribe(stub, source_id)
        for call in (first, second):
            opened, *answers, last = call
            assert opened.opened.model.parts
            assert last.ended.state == service_pb2.SOURCE_STATE_ENDED
            assert last.ended.num_frames == NUM_FRAMES
            indices = [one.answer.index for one in answers]
            assert indices == sorted(set(indices))
            assert len(indices) + last.num_missed <= NUM_FRAMES
            seen = [one for one in answers if one.answer.HasField("result")]
            assert {one.answer.index % 2 for one in seen} == {0}
            assert {(one.width, one.height) for one in seen} == {(WIDTH, HEIGHT)}
            assert all(one.time_s == one.answer.result.time_s for one in seen)
        stop(server, source_id)


def test_a_source_that_is_stopped_says_so_to_its_subscribers(server: RunningGrpc, tmp_path: Path) -> None:
    with server.stub() as stub:
        source_id = start(server, tmp_path / "long.mp4")
        call = subscribe(stub, source_id)
        assert next(call).HasField("opened")
        stop(server, source_id)
        *_, last = call
        assert last.ended.state == service_pb2.SOURCE_STATE_STOPPED
        with pytest.raises(grpc.RpcError) as caught:
            list(subscribe(stub, source_id))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_subscriber_that_leaves_is_forgotten(server: RunningGrpc, tmp_path: Path) -> None:
    with server.stub() as stub:
        source_id = start(server, tmp_path / "long.mp4")
        call = subscribe(stub, source_id)
        next(call)
        (pulled,) = server.service.sources.all_of(server.service.access.account(KEYS["anna"]))
        assert len(pulled.source._followers) == 1
        call.cancel()
        eventually(lambda: not pulled.source._followers, "nobody follows")
        stop(server, source_id)


@pytest.mark.parametrize("name", ["anna", "ben"])
def test_only_the_key_that_started_a_source_may_follow_it(
    server: RunningGrpc, tmp_path: Path, name: str
) -> None:
    with server.stub() as stub:
        source_id = start(server, tmp_path / "long.mp4")
        call = subscribe(stub, source_id, name)
        if name == "anna":
            assert next(call).HasField("opened")
            call.cancel()
        else:
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            trailers: Any = caught.value.trailing_metadata()
            assert dict(trailers)["partstream-code"] == "not_found"
        stop(server, source_id)
