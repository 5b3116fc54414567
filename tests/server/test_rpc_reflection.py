"""A client that knows nothing of partstream learns the service by reflection and runs a stream."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from partstream_server.engine import Engine
from tests.server.running_grpc import RunningGrpc, serving_grpc
from tests.server.stream_fixtures import jpeg, walk


@pytest.fixture(scope="module")
def server(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrpc]:
    with serving_grpc(engine, tmp_path_factory.mktemp("work")) as running:
        yield running


def test_a_stranger_lists_the_service_and_streams_with_what_reflection_says(
    server: RunningGrpc, tmp_path: Path
) -> None:
    with grpc.insecure_channel(server.target) as channel:
        database: Any = ProtoReflectionDescriptorDatabase(channel)
        assert "partstream.v1.ParsingService" in database.get_services()
        pool: Any = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("partstream.v1.ParsingService").FindMethodByName("StreamParse")
        Request: Any = message_factory.GetMessageClass(method.input_type)
        Response: Any = message_factory.GetMessageClass(method.output_type)
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        call = channel.stream_stream(
            "/partstream.v1.ParsingService/StreamParse",
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )(iter(requests.get, None), timeout=60)

        requests.put(Request(config={"policy": 2}))
        opened = next(call).opened
        requests.put(Request(frame={"index": 3, "encoded": jpeg(walk(1)[0])}))
        answer = next(call).answer
        requests.put(None)

        assert opened.credits
        assert answer.index == 3
        assert answer.result.people[0].identity == 1
        assert list(call) == []
