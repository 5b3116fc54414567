"""Spans of requests."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from partstream_server.api.app import create_app
from partstream_server.api.tracing import Tracing, TracingError, open_tracing
from partstream_server.engine import Engine
from partstream_server.settings import Settings


def test_every_request_is_a_span_named_by_its_route(engine: Engine, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter))
    app = create_app(Settings(temp_dir=tmp_path), engine, tracing=tracing)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return [(await http.get(path)).status_code for path in ("/readyz", "/v1/sources/nothing")]

    assert asyncio.run(ask()) == [200, 404]
    tracing.close()
    ready, missing = exporter.get_finished_spans()
    assert ready.name == "GET /readyz"
    assert missing.attributes is not None
    assert (missing.attributes["status"], missing.attributes["code"]) == (404, "not_found")
    assert missing.start_time is not None and missing.end_time is not None
    assert missing.start_time < missing.end_time


def test_without_an_address_nothing_is_traced() -> None:
    assert open_tracing("") is None


def test_where_the_packages_are_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(TracingError, match="extra `tracing`"):
        open_tracing("http://127.0.0.1:4317")
