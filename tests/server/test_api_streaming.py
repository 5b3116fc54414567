"""Responses that are made while they are sent, and the engine's life in the application."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import ClientDisconnect, Request

from partstream_core.errors import PartstreamError
from partstream_server.config.settings import Settings
from partstream_server.engine import Engine
from partstream_server.rest.app import create_app
from partstream_server.rest.streaming import Body, StreamedResponse
from partstream_server.service.presence import unless_gone
from partstream_server.service.threaded_steps import ThreadedSteps
from tests.server.running_server import eventually, serving

SCOPE = {"type": "http", "method": "POST", "path": "/parse", "headers": []}


class Client:
    """The other side of an ASGI application: reads some messages, then stalls or leaves."""

    def __init__(self, *, reads: int, leaves: bool) -> None:
        self.received: list[dict[str, Any]] = []
        self._reads, self._leaves = reads, leaves
        self._left = anyio.Event()

    async def send(self, message: Any) -> None:
        if len(self.received) == self._reads:
            if self._leaves:
                self._left.set()
            await anyio.sleep_forever()
        self.received.append(message)

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}


class Source:
    """Chunks without end that notice when they are no longer wanted."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
        finally:
            self.closed.append("chunks")

    async def respond(self, client: Client, *, send_timeout_s: float) -> None:
        resources = AsyncExitStack()
        resources.callback(self.closed.append, "resources")
        body = Body(self.chunks(), "text/plain", {})
        response = StreamedResponse(body, resources=resources, send_timeout_s=send_timeout_s)
        await response(SCOPE, client.receive, client.send)


@pytest.mark.parametrize(("leaves", "send_timeout_s"), [(True, 60.0), (False, 0.05)])
def test_a_client_that_leaves_or_stops_reading_ends_what_it_was_sent(
    leaves: bool, send_timeout_s: float
) -> None:
    source, client = Source(), Client(reads=4, leaves=leaves)
    anyio.run(lambda: source.respond(client, send_timeout_s=send_timeout_s))
    assert [message.get("body") for message in client.received] == [None, b"x", b"x", b"x"]
    assert source.closed == ["chunks", "resources"]


def test_work_for_a_client_that_left_is_not_finished() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        anyio.run(unless_gone, Request(SCOPE, receive), anyio.sleep_forever)


def test_an_error_of_the_work_arrives_as_it_is() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError("the client stays")

    with pytest.raises(KeyError, match="mine"):
        anyio.run(unless_gone, Request(SCOPE, receive), fail)


def test_closing_waits_for_a_step_whose_caller_was_cancelled() -> None:
    """The step goes on in its thread after the task that wanted it has been cancelled by the event loop."""
    import asyncio
    import threading

    begun, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def steps() -> Generator[int, None, None]:
        try:
            begun.set()
            assert go_on.wait(60)
            seen.append("step")
            yield 1
        finally:
            seen.append("closed")

    async def cancel_during_a_step() -> None:
        threaded = ThreadedSteps(steps(), anyio.CapacityLimiter(2))
        task = asyncio.create_task(threaded.run())
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        closing = asyncio.create_task(threaded.aclose())
        go_on.set()
        await closing
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_during_a_step())
    assert seen == ["step", "closed"]


def test_before_the_bundle_is_loaded_requests_are_told_to_come_back(tmp_path: Path) -> None:
    app = create_app(Settings(temp_dir=tmp_path))  # never started, so nothing is loaded

    async def ask() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            models, ready = await client.get("/v1/models"), await client.get("/readyz")
            for answer in (models, ready, await client.post("/parse", content=b"x")):
                assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
                assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200

    anyio.run(ask)
    assert not list(tmp_path.iterdir())


def test_the_application_opens_the_engine_of_its_settings(engine: Engine, tmp_path: Path) -> None:
    with serving(None, tmp_path, bundle=engine.bundle.directory, provider="onnxruntime") as server:
        eventually(lambda: server.http.get("/readyz").status_code == 200, "the server is ready")
        assert server.http.get("/readyz").json()["provider"] == "onnxruntime"
        server.check_unharmed()


def test_an_engine_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    failures: list[PartstreamError] = []
    with serving(None, tmp_path, bundle=tmp_path, on_failure=failures.append) as server:
        eventually(lambda: bool(failures), "the failure is told")
        answer = server.http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "bundle.json" in answer.json()["detail"]
    assert failures[0].code == "bad_bundle"
