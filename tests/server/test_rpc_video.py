"""Uploads over gRPC: a file in chunks, its results, and every way in which that goes wrong."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest

from partstream.v1 import service_pb2
from partstream_server.engine import Engine
from tests.server.media_fixtures import clip, image
from tests.server.running_grpc import RunningGrpc, serving_grpc
from tests.server.running_server import eventually

Request = service_pb2.ParseVideoRequest
CONFIG = Request(config=service_pb2.ParseVideoConfig())


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrpc]:
    with serving_grpc(
        engine, tmp_path_factory.mktemp("work"), max_upload_bytes=1_000_000, upload_timeout_s=20
    ) as running:
        yield running


@pytest.fixture
def server(shared: RunningGrpc) -> Iterator[RunningGrpc]:
    yield shared
    eventually(lambda: shared.service.gate.num_inside == 0, "no upload is inside")
    eventually(lambda: not list(shared.service.settings.work_dir.iterdir()), "no file is left")


def upload(body: bytes, config: Request = CONFIG, *, chunk: int = 10_000) -> Iterator[Request]:
    yield config
    for start in range(0, len(body), chunk):
        yield Request(chunk=body[start : start + chunk])


def parse(server: RunningGrpc, requests: Iterable[Request]) -> list[service_pb2.ParseVideoResponse]:
    with server.stub() as stub:
        return list(stub.ParseVideo(iter(requests), timeout=60))


def test_a_clip_goes_up_and_its_results_come_down(server: RunningGrpc) -> None:
    started, *results, finished = parse(server, upload(clip(num_frames=4)))
    assert started.started.model.parts
    assert [one.result.index for one in results] == [0, 1, 2, 3]
    assert finished.finished.video.num_frames == 4
    assert finished.finished.video.width == started.started.video.width > 0


def test_options_are_those_of_the_rest_service(server: RunningGrpc) -> None:
    config = service_pb2.ParseVideoConfig(every=2, max_frames=3, masks=service_pb2.MASK_FORM_NONE)
    _, *results, _ = parse(server, upload(clip(num_frames=6), Request(config=config)))
    assert [one.result.index for one in results] == [0, 2]
    assert not any(person.HasField("mask") for one in results for person in one.result.people)


def test_an_image_is_a_video_of_one_frame(server: RunningGrpc) -> None:
    assert len(parse(server, upload(image()))) == 3


@pytest.mark.parametrize(
    ("requests", "status", "code"),
    [
        ([], "INVALID_ARGUMENT", "config_missing"),
        ([Request(chunk=b"x")], "INVALID_ARGUMENT", "config_missing"),
        ([CONFIG], "INVALID_ARGUMENT", "empty_upload"),
        ([CONFIG, CONFIG], "INVALID_ARGUMENT", "second_config"),
        ([CONFIG, Request()], "INVALID_ARGUMENT", "second_config"),
        (list(upload(b"not a video " * 100)), "INVALID_ARGUMENT", "not_a_video"),
        (list(upload(bytes(1_500_000), chunk=100_000)), "RESOURCE_EXHAUSTED", "upload_too_large"),
        (
            list(upload(b"", Request(config=service_pb2.ParseVideoConfig(bundle="nobody's")))),
            "NOT_FOUND",
            "unknown_bundle",
        ),
        (
            list(upload(b"x", Request(config=service_pb2.ParseVideoConfig(score_threshold=-1)))),
            "INVALID_ARGUMENT",
            "bad_option",
        ),
    ],
    ids=["none", "chunk", "empty", "configs", "void", "text", "large", "bundle", "score"],
)
def test_a_wrong_upload_ends_with_its_status(
    server: RunningGrpc, requests: list[Request], status: str, code: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        parse(server, requests)
    error: Any = caught.value
    trailing = {str(key): value for key, value in error.trailing_metadata()}
    assert (error.code().name, trailing["partstream-code"]) == (status, code)
    assert error.details()


def test_a_client_that_leaves_half_way_leaves_no_file(server: RunningGrpc) -> None:
    with server.stub() as stub:
        call = stub.ParseVideo(upload(clip(num_frames=200)), timeout=60)
        assert next(call).HasField("started")
        call.cancel()
