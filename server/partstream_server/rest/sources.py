"""/v1/sources: cameras and files that the server pulls by itself, and the results of each as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from partstream_core.errors import PartstreamError
from partstream_server.rest.authentication import account_of
from partstream_server.rest.messages import item_message, opened_message
from partstream_server.rest.openapi import EVENT_RESPONSES
from partstream_server.rest.problems import problem_response
from partstream_server.rest.requests import StreamOptions, checked, read_json
from partstream_server.rest.streaming import Body, StreamedResponse
from partstream_server.rest.websocket import NORMAL
from partstream_server.security.keys import presented_key
from partstream_server.security.origin import check_origin
from partstream_server.service.service import Service, service_of
from partstream_server.sources.manager import Pulled
from partstream_server.sources.source import Follower

router = APIRouter(prefix="/v1/sources", tags=["sources"])
_QUIET_S: Final = 15.0
"""A comment goes out where nothing else did for so long, so that a client that left is noticed."""


class SourceRequest(StreamOptions):
    """What to pull, and how to parse it."""

    url: str = Field(min_length=1, max_length=4096)
    reconnect: bool = True


class SourceDocument(BaseModel):
    """A source as it is now."""

    id: str
    url: str
    state: str
    problem: str
    num_frames: int
    num_connections: int
    stream_id: str


class SourceList(BaseModel):
    """All sources of a key."""

    sources: list[SourceDocument]


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SourceRequest.model_json_schema()}},
    }
}


@router.post("", status_code=201, openapi_extra=_BODY)
async def start(request: Request, response: Response) -> SourceDocument:
    """Pull an RTSP, HTTP or file URL until it ends or is stopped."""
    service = service_of(request)
    check_origin(
        request.headers.get("origin"),
        request.headers.get("host"),
        allowed=service.settings.allowed_origins.split(","),
    )
    asked = checked(SourceRequest, await read_json(request))
    pulled = service.sources.start(asked.url, asked.config(), account_of(request), reconnect=asked.reconnect)
    response.headers["Location"] = f"/v1/sources/{pulled.source.source_id}"
    return _document(pulled)


@router.get("")
async def every(request: Request) -> SourceList:
    """The sources of this key."""
    pulled = service_of(request).sources.all_of(account_of(request))
    return SourceList(sources=[_document(one) for one in pulled])


@router.get("/{source_id}")
async def one(request: Request, source_id: str) -> SourceDocument:
    """One source: its state, and why it waits or failed."""
    return _document(service_of(request).sources.get(source_id, account_of(request)))


@router.delete("/{source_id}", status_code=204)
async def stop(request: Request, source_id: str) -> None:
    """Stop a source; when this is answered, its connection and its thread are gone."""
    await service_of(request).sources.stop(source_id, account_of(request))


@router.get("/{source_id}/events", response_class=Response, responses=EVENT_RESPONSES)
async def events(request: Request, source_id: str) -> Response:
    """Results as server-sent events, from now on; the data are the messages of the WebSocket `/v1/stream`."""
    service = service_of(request)
    pulled = service.sources.get(source_id, account_of(request))
    follower = pulled.source.follow()
    resources = AsyncExitStack()
    resources.callback(pulled.source.leave, follower)
    body = Body(_lines(pulled, follower), "text/event-stream", {"Cache-Control": "no-store"})
    return StreamedResponse(body, resources=resources, send_timeout_s=service.settings.send_timeout_s)


@router.websocket("/{source_id}/stream")
async def stream(socket: WebSocket, source_id: str) -> None:
    """The same over a WebSocket, which closes when the source has ended."""
    service: Service = socket.app.state.service
    try:
        check_origin(
            socket.headers.get("origin"),
            socket.headers.get("host"),
            allowed=service.settings.allowed_origins.split(","),
        )
        account = service.access.account(presented_key(socket.headers.items()))
        pulled = service.sources.get(source_id, account)
    except PartstreamError as error:
        await socket.send_denial_response(problem_response(error, socket))
        return
    await socket.accept()
    follower = pulled.source.follow()
    sending = asyncio.create_task(_send_all(socket, pulled, follower, service.settings.send_timeout_s))
    leaving = asyncio.create_task(_departure(socket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pulled.source.leave(follower)
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_all(socket: WebSocket, pulled: Pulled, follower: Follower, timeout_s: float) -> None:
    async for message in _messages(pulled, follower):
        async with asyncio.timeout(timeout_s):
            await socket.send_text(_text(message))
    await socket.close(NORMAL)


async def _departure(socket: WebSocket) -> None:
    """Return when the client has left; what it says is not heard."""
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
    except WebSocketDisconnect:
        return


async def _messages(pulled: Pulled, follower: Follower) -> AsyncGenerator[dict[str, Any], None]:
    yield opened_message(pulled.source.stream.opened)
    async for item in follower.items():
        width, height = pulled.source.size or (0, 0)
        known = {"num_missed": follower.num_missed, "width": width, "height": height}
        yield item_message(item) | known
    yield {"type": "ended", "source": _document(pulled).model_dump()}


async def _lines(pulled: Pulled, follower: Follower) -> AsyncGenerator[bytes, None]:
    """Messages as server-sent events, with a comment in long pauses."""
    messages = _messages(pulled, follower)
    waiting: asyncio.Task[dict[str, Any]] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait({waiting}, timeout=_QUIET_S)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                message = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield f"event: {message['type']}\ndata: {_text(message)}\n\n".encode()
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await messages.aclose()


def _document(pulled: Pulled) -> SourceDocument:
    source = pulled.source
    return SourceDocument(
        id=source.source_id,
        url=pulled.url,
        state=source.state.value,
        problem=source.problem,
        num_frames=source.num_frames,
        num_connections=source.num_connections,
        stream_id=source.stream.opened.stream_id,
    )


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), allow_nan=False)
