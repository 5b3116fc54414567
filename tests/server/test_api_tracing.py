"""Spans of requests."""

import asyncio
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.sync.client import connect

from partstream.v1 import service_pb2
from partstream_server.config.settings import Settings
from partstream_server.engine import Engine
from partstream_server.rest.app import create_app
from partstream_server.service.tracing import Tracing, TracingError, open_tracing
from tests.server.running_grpc import serving_grpc
from tests.server.stream_fixtures import jpeg, walk


def test_every_request_is_a_span_named_by_its_route(engine: Engine, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter))
    app = create_app(Settings(temp_dir=tmp_path), engine, tracing=tracing)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return [(await http.get(path)).status_code for path in ("/readyz", "/v1/sources/nothing")]

    assert asyncio.run(ask()) == [200, 404]
    tracing.close()
    ready, missing = exporter.get_finished_spans()
    assert ready.name == "GET /readyz"
    assert missing.attributes is not None
    assert (missing.attributes["status"], missing.attributes["code"]) == (404, "not_found")
    assert missing.start_time is not None and missing.end_time is not None
    assert missing.start_time < missing.end_time


def test_calls_of_grpc_and_websockets_are_spans_with_their_outcome(engine: Engine, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter))
    with serving_grpc(engine, tmp_path, tracing=tracing) as server:
        answers = server.exchange([jpeg(image) for image in walk(2)])
        assert len(answers) == 2
        with server.stub() as stub, pytest.raises(grpc.RpcError):
            list(stub.SubscribeSource(service_pb2.SubscribeSourceRequest(source_id="none"), timeout=60))
        with connect(server.url.replace("http", "ws", 1) + "/v1/stream") as socket:
            socket.send("{}")
            socket.recv(60)
    tracing.close()
    spans = {span.name: span.attributes or {} for span in exporter.get_finished_spans()}
    assert spans["grpc StreamParse"]["code"] == "ok"
    assert spans["grpc SubscribeSource"]["code"] == "not_found"
    assert spans["WEBSOCKET /v1/stream"]["path"] == "/v1/stream"


TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


def test_spans_continue_the_trace_of_their_caller(engine: Engine, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter))
    with serving_grpc(engine, tmp_path, tracing=tracing) as server:
        with server.stub() as stub, pytest.raises(grpc.RpcError):
            request = service_pb2.SubscribeSourceRequest(source_id="none")
            list(stub.SubscribeSource(request, timeout=60, metadata=[("traceparent", CALLER)]))
        socket_url = server.url.replace("http", "ws", 1) + "/v1/stream"
        with connect(socket_url, additional_headers={"traceparent": CALLER}) as socket:
            socket.send("{}")
            socket.recv(60)
        assert httpx.get(server.url + "/readyz", headers={"Traceparent": CALLER}).status_code == 200
        assert httpx.get(server.url + "/livez", headers={"traceparent": "00-damaged"}).status_code == 200
    tracing.close()
    parents = {span.name: span.parent for span in exporter.get_finished_spans()}
    for name in ("grpc SubscribeSource", "WEBSOCKET /v1/stream", "GET /readyz"):
        parent = parents[name]
        assert parent is not None
        assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, "b7ad6b7169203331")
    assert parents["GET /livez"] is None


def test_without_an_address_nothing_is_traced() -> None:
    assert open_tracing("") is None


def test_where_the_packages_are_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(TracingError, match="extra `tracing`"):
        open_tracing("http://127.0.0.1:4317")
