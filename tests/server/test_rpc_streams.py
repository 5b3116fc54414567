"""Live streams over gRPC: a real server, a real socket, and the generated code as client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from partstream.v1 import service_pb2
from partstream_server.engine import Engine
from tests.server.running_grpc import BLOCK, Call, Request, RunningGrpc, serving_grpc
from tests.server.stream_fixtures import HEIGHT, WIDTH, jpeg, walk

PICTURES = [jpeg(image) for image in walk(4)]
SERVICE = "partstream.v1.ParsingService"


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrpc]:
    with serving_grpc(engine, tmp_path_factory.mktemp("work"), max_streams=4) as running:
        yield running


@pytest.fixture
def server(shared: RunningGrpc) -> Iterator[RunningGrpc]:
    yield shared
    shared.check_unharmed()


def fault(error: Any) -> tuple[str, str]:
    """Status and stable code of a call that failed."""
    trailing = {str(key): value for key, value in error.trailing_metadata() or ()}
    return error.code().name, str(trailing.get("partstream-code", ""))


def broken(call: Call) -> tuple[str, str]:
    """How a call ends that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        while True:
            call.read()
    assert caught.value.details()
    return fault(caught.value)


def test_opened_says_what_runs_and_how_many_frames_may_be_in_flight(
    server: RunningGrpc, engine: Engine
) -> None:
    with server.stub() as stub:
        call = Call(stub, service_pb2.StreamConfig(credits=3))
        opened = call.opened
        assert opened is not None
        assert opened.model.bundle == engine.bundle.manifest.name
        assert opened.model.provider == engine.provider
        assert opened.precision == engine.precision
        assert (opened.credits, opened.policy) == (3, service_pb2.POLICY_LATEST)
        assert not opened.resumed
        assert call.rest() == []


def test_frames_come_back_as_people_with_masks_and_identities(server: RunningGrpc) -> None:
    answers = server.exchange(PICTURES)
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    assert answers[0].resume_token
    for answer in answers:
        assert answer.result.key_frame == (answer.index % 3 == 0)
        assert answer.result.people
        assert 0 < answer.latency.network_ms < answer.latency.total_ms
        for person in answer.result.people:
            assert person.identity
            assert (person.mask.rle.height, person.mask.rle.width) == (HEIGHT, WIDTH)
    first, last = ({person.identity for person in answers[i].result.people} for i in (0, -1))
    assert first & last


def test_a_stream_follows_the_schedule_it_asks_for(server: RunningGrpc) -> None:
    config = service_pb2.StreamConfig(
        policy=service_pb2.POLICY_BLOCK, schedule=service_pb2.SCHEDULE_CAUSAL, interval=2
    )
    answers = server.exchange(PICTURES, config)
    assert [answer.result.key_frame for answer in answers] == [True, False, True, False]
    assert all(answer.result.people for answer in answers)


def test_raw_pixels_are_taken_as_they_are(server: RunningGrpc) -> None:
    image = walk(1)[0]
    raw = service_pb2.RawImage(width=WIDTH, height=HEIGHT, rgb=image.tobytes())
    with server.stub() as stub:
        call = Call(stub)
        call.send(Request(frame=service_pb2.StreamFrame(index=0, raw=raw)))
        assert call.read().answer.result.people
        raw.height += 1
        call.send(Request(frame=service_pb2.StreamFrame(index=1, raw=raw)))
        assert call.read().answer.failure.code == "bad_media"
        assert call.rest() == []


def test_masks_come_in_the_form_that_was_asked_for(server: RunningGrpc) -> None:
    for form, name in ((service_pb2.MASK_FORM_POLYGONS, "polygons"), (service_pb2.MASK_FORM_NONE, None)):
        config = service_pb2.StreamConfig(policy=service_pb2.POLICY_BLOCK, masks=form)
        (answer,) = server.exchange(PICTURES[:1], config)
        assert answer.result.people[0].mask.WhichOneof("form") == name


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        (b"", "empty_upload"),
        (b"no picture at all", "not_a_video"),
        (PICTURES[1][:1500], "truncated"),
        (PICTURES[1][:20] + b"\xff\xd9", "not_a_video"),
        (jpeg(walk(1)[0][:200]), "frame_size_changed"),
    ],
    ids=["empty", "text", "cut", "stump", "other size"],
)
def test_a_bad_picture_is_that_frames_failure(server: RunningGrpc, picture: bytes, code: str) -> None:
    good, bad, after = server.exchange([PICTURES[0], picture, PICTURES[2]])
    assert good.HasField("result")
    assert bad.failure.code == code
    assert bad.failure.message
    assert after.HasField("result")


def test_a_frame_that_goes_back_in_time_is_that_frames_failure(server: RunningGrpc) -> None:
    with server.stub() as stub:
        call = Call(stub)
        call.frame(5, PICTURES[0], time_s=2.0)
        assert call.read().answer.HasField("result")
        call.frame(6, PICTURES[1], time_s=1.0)
        assert call.read().answer.failure.code == "time_went_back"
        call.frame(5, PICTURES[1], time_s=3.0)
        assert call.read().answer.failure.code == "bad_index"
        call.frame(7, PICTURES[1], time_s=3.0)
        assert call.read().answer.HasField("result")
        assert call.rest() == []


@pytest.mark.parametrize(
    "first",
    [Request(frame=service_pb2.StreamFrame(encoded=PICTURES[0])), Request(), None],
    ids=["frame", "nothing in it", "end"],
)
def test_the_first_message_must_be_the_config(server: RunningGrpc, first: Request | None) -> None:
    with server.stub() as stub:
        call = Call(stub, None)
        call.send(first)
        assert broken(call) == ("INVALID_ARGUMENT", "config_missing")


def test_a_second_config_ends_the_call(server: RunningGrpc) -> None:
    with server.stub() as stub:
        call = Call(stub)
        call.send(Request(config=BLOCK))
        assert broken(call) == ("INVALID_ARGUMENT", "second_config")


@pytest.mark.parametrize(
    ("config", "status", "code"),
    [
        (service_pb2.StreamConfig(bundle="nobody's"), "NOT_FOUND", "unknown_bundle"),
        (service_pb2.StreamConfig(score_threshold=2), "INVALID_ARGUMENT", "bad_option"),
        (service_pb2.StreamConfig(masks=99), "INVALID_ARGUMENT", "bad_option"),  # type: ignore[arg-type]
        (service_pb2.StreamConfig(policy=99), "INVALID_ARGUMENT", "bad_option"),  # type: ignore[arg-type]
        (service_pb2.StreamConfig(schedule=99), "INVALID_ARGUMENT", "bad_option"),  # type: ignore[arg-type]
        (service_pb2.StreamConfig(schedule=service_pb2.SCHEDULE_PAPER), "INVALID_ARGUMENT", "bad_option"),
        (service_pb2.StreamConfig(flow=99), "INVALID_ARGUMENT", "bad_option"),  # type: ignore[arg-type]
        (service_pb2.StreamConfig(assembly=99), "INVALID_ARGUMENT", "bad_option"),  # type: ignore[arg-type]
        (service_pb2.StreamConfig(interval=101), "INVALID_ARGUMENT", "bad_option"),
        (service_pb2.StreamConfig(resume_token=b"x" * 200), "INVALID_ARGUMENT", "bad_resume_token"),
    ],
    ids=[
        "bundle",
        "score",
        "masks",
        "policy",
        "schedule",
        "looks_ahead",
        "flow",
        "assembly",
        "interval",
        "token",
    ],
)
def test_a_config_that_cannot_be_is_refused(
    server: RunningGrpc, config: service_pb2.StreamConfig, status: str, code: str
) -> None:
    with server.stub() as stub:
        call = Call(stub, None)
        call.send(Request(config=config))
        assert broken(call) == (status, code)


def test_a_message_of_fifty_megabytes_is_refused(server: RunningGrpc) -> None:
    with server.stub() as stub:
        call = Call(stub)
        call.frame(0, bytes(50_000_000))
        assert broken(call)[0] == "RESOURCE_EXHAUSTED"


def test_more_streams_than_the_limit_are_refused_and_the_others_go_on(server: RunningGrpc) -> None:
    with server.stub() as stub:
        calls = [Call(stub) for _ in range(4)]
        late = Call(stub, None)
        late.send(Request(config=BLOCK))
        assert broken(late) == ("RESOURCE_EXHAUSTED", "busy")
        for call in calls:
            assert call.answer(0, PICTURES[0]).HasField("result")
            assert call.rest() == []


def test_health_says_serving(server: RunningGrpc) -> None:
    with server.channel() as channel:
        check: Any = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for name in ("", SERVICE):
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(server: RunningGrpc) -> None:
    with server.channel() as channel:
        ask: Any = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = ask(iter([request]), timeout=10)
        names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_models_are_listed(server: RunningGrpc, engine: Engine) -> None:
    with server.stub() as stub:
        (model,) = stub.ListModels(service_pb2.ListModelsRequest(), timeout=10).models
    manifest = engine.bundle.manifest
    assert (model.model.bundle, model.model.version) == (manifest.name, manifest.version)
    assert tuple(model.model.parts) == manifest.capabilities.parts
    assert model.licence == manifest.licence


def test_a_client_that_cancels_leaves_nothing_behind(server: RunningGrpc) -> None:
    with server.stub() as stub:
        call = Call(stub)
        call.frame(0, PICTURES[0])
        call.close()


def test_a_deadline_ends_the_stream(engine: Engine, tmp_path: Path) -> None:
    with serving_grpc(engine, tmp_path) as server:
        with server.stub() as stub:
            call = stub.StreamParse(iter_forever(), timeout=0.5)
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        server.check_unharmed()


def iter_forever() -> Iterator[Request]:
    import threading

    yield Request(config=BLOCK)
    threading.Event().wait(2)


def test_a_client_that_sends_nothing_is_let_go(engine: Engine, tmp_path: Path) -> None:
    with serving_grpc(engine, tmp_path, stream_idle_s=0.2) as server, server.stub() as stub:
        assert broken(Call(stub)) == ("DEADLINE_EXCEEDED", "idle_timeout")


def test_a_key_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    key = "open-sesame-open-sesame"
    with serving_grpc(engine, tmp_path, api_keys=f"me:{key}") as server, server.stub() as stub:
        ask = stub.ListModels
        for metadata, code in ((), "key_missing"), ((("x-api-key", "wrong" * 5),), "key_wrong"):
            with pytest.raises(grpc.RpcError) as caught:
                ask(service_pb2.ListModelsRequest(), timeout=10, metadata=metadata)
            assert fault(caught.value) == ("UNAUTHENTICATED", code)
        assert broken(unauthenticated(stub)) == ("UNAUTHENTICATED", "key_missing")
        right = (("authorization", f"Bearer {key}"),)
        assert ask(service_pb2.ListModelsRequest(), timeout=10, metadata=right).models


def unauthenticated(stub: Any) -> Call:
    call = Call(stub, None)
    call.send(Request(config=BLOCK))
    return call
