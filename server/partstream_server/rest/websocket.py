"""GET /v1/stream: a live stream over a WebSocket.

Up: the config as JSON, then pictures as binary messages. `{"type": "frame", "index", "time_s", "age_ms"}`
may go before a picture; without it the server numbers it and takes the time of its arrival. `{"type": "end"}`
says that no further one comes. Down: JSON messages of type `opened`, `answer` (one for each picture, in
order), `going_away` and, before a close that is no normal one, `error` with a problem document.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from contextlib import ExitStack
from typing import Any, Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from partstream_core.errors import BusyError
from partstream_server.rest.messages import error_message, item_message, opened_message
from partstream_server.rest.problems import problem_document, problem_response
from partstream_server.rest.requests import (
    ConfigMessage,
    EndMessage,
    FrameMessage,
    read_config,
    read_message,
)
from partstream_server.security.access import Account
from partstream_server.security.errors import AccessError
from partstream_server.security.keys import presented_key
from partstream_server.security.origin import check_origin
from partstream_server.service.errors import as_partstream_error
from partstream_server.service.service import Service
from partstream_server.streams import GoingAway, InputFrame, Stream, StreamClosedError
from partstream_server.streams.errors import (
    ConfigMissingError,
    GoingAwayError,
    IdleError,
    SecondConfigError,
    SlowReaderError,
)

router = APIRouter()

NORMAL: Final = 1000
REFUSED: Final = 1008
BROKEN: Final = 1011
RESTART: Final = 1012
LATER: Final = 1013
_log = logging.getLogger("partstream.api")


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """A live stream; who may not open one is told before the handshake where that can be known."""
    service: Service = socket.app.state.service
    socket.state.request_id = ""
    opening = ExitStack()
    try:
        check_origin(
            socket.headers.get("origin"),
            socket.headers.get("host"),
            allowed=service.settings.allowed_origins.split(","),
        )
        key = presented_key(socket.headers.items())
        if key is not None:
            service.access.account(key)
        opening.enter_context(service.openings.admit())
    except (AccessError, BusyError) as error:
        await socket.send_denial_response(problem_response(error, socket))
        return
    with opening:
        await socket.accept()
        conversation = _Conversation(socket, service, key, opening)
        try:
            await conversation.hold()
        except WebSocketDisconnect:
            pass
        except Exception as error:  # told to the client, whatever it is
            await conversation.fail(error)


class _Conversation:
    """One client's stream from its config to its end."""

    def __init__(self, socket: WebSocket, service: Service, key: str | None, opening: ExitStack) -> None:
        """Begin before the config.

        Args:
            socket: Accepted.
            service: What the stream is of.
            key: The API key of the headers, if there was one.
            opening: Closed once the client has sent a config that is let in.
        """
        self._socket, self._service, self._key, self._opening = socket, service, key, opening
        self._settings = service.settings
        self._next_index = 0
        self._began_s = 0.0
        self._header: FrameMessage | None = None

    async def hold(self) -> None:
        """Talk until one side ends it.

        Raises:
            PartstreamError: What has to be told before the end.
            WebSocketDisconnect: The client left.
        """
        config = await self._config()
        account = self._account(config)
        self._opening.close()
        chosen = config.config(credits_=config.credits, resume_token=config.resume_token)
        with self._service.hub.open(chosen, transport="websocket", account=account) as opened:
            self._began_s = time.monotonic()
            await self._send(opened_message(opened.opened))
            reading = asyncio.create_task(self._read(opened))
            writing = asyncio.create_task(self._write(opened))
            try:
                await _first_failure_or_end(writing, reading)
            finally:
                opened.close()
                reading.cancel()
                writing.cancel()
                await asyncio.gather(reading, writing, return_exceptions=True)
        await self._close(RESTART if self._going_away else NORMAL)

    async def fail(self, error: Exception) -> None:
        """Tell what went wrong, and close."""
        known = as_partstream_error(error)
        if known is None:
            _log.error("stream broke off", exc_info=error, extra={"fields": {"path": "/v1/stream"}})
        document = problem_document(error, instance="/v1/stream")
        self._service.metrics.problems.labels(document["code"]).inc()
        try:
            await self._send(error_message(document))
            await self._close(_close_code(document))
        except (WebSocketDisconnect, SlowReaderError):
            pass

    async def _config(self) -> ConfigMessage:
        message = await self._receive(self._settings.opening_timeout_s)
        if message.get("text") is None:
            raise ConfigMissingError("the first message must be the config, as text, before any picture")
        return read_config(message["text"])

    def _account(self, config: ConfigMessage) -> Account:
        account = self._service.access.account(self._key or config.api_key)
        account.begin()
        return account

    async def _read(self, opened: Stream) -> None:
        """Take pictures until the client says that there are no more."""
        while True:
            message = await self._receive()
            if message.get("text") is not None:
                if self._in_words(read_message(message["text"])):
                    opened.end()
                    return
                continue
            try:
                await opened.submit(self._frame(message["bytes"]))
            except StreamClosedError:
                return

    def _in_words(self, said: FrameMessage | EndMessage | ConfigMessage) -> bool:
        """Note what was said; whether it was the end."""
        if isinstance(said, ConfigMessage):
            raise SecondConfigError("a stream has one config; open another stream for another one")
        if isinstance(said, FrameMessage):
            self._header = said
        return isinstance(said, EndMessage)

    def _frame(self, image: bytes) -> InputFrame:
        header, self._header = self._header or FrameMessage(type="frame"), None
        index = self._next_index if header.index is None else header.index
        self._next_index = max(self._next_index, index + 1)
        time_s = time.monotonic() - self._began_s if header.time_s is None else header.time_s
        return InputFrame(index=index, time_s=time_s, image=image, age_ms=header.age_ms)

    _going_away = False

    async def _write(self, opened: Stream) -> None:
        async for item in opened.answers():
            self._going_away |= isinstance(item, GoingAway)
            await self._send(item_message(item))

    async def _receive(self, most_s: float = math.inf) -> dict[str, Any]:
        """The next message, within the time of silence and within another one; pings do not count.

        Raises:
            IdleError: None came for too long.
            WebSocketDisconnect: The client left.
        """
        seconds = min(self._settings.stream_idle_s, most_s)
        try:
            async with asyncio.timeout(seconds):
                message = await self._socket.receive()
        except TimeoutError:
            raise IdleError(f"nothing was sent for {seconds:g} seconds") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", NORMAL))
        return dict(message)

    async def _send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            SlowReaderError: The client does not read.
            WebSocketDisconnect: It left.
        """
        seconds = self._settings.send_timeout_s
        try:
            async with asyncio.timeout(seconds):
                await self._socket.send_text(json.dumps(message, separators=(",", ":"), allow_nan=False))
        except TimeoutError:
            raise SlowReaderError(f"nothing was read for {seconds:g} seconds") from None

    async def _close(self, code: int) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._socket.close(code)


async def _first_failure_or_end(writing: asyncio.Task[None], reading: asyncio.Task[None]) -> None:
    """Return when all answers are written; raise what either task raises before."""
    waiting: set[asyncio.Task[None]] = {writing, reading}
    while writing in waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _close_code(problem: dict[str, Any]) -> int:
    """The status of a close, from a problem's HTTP status."""
    if problem["code"] == GoingAwayError.code:
        return RESTART
    if problem["status"] in (429, 503):
        return LATER
    return REFUSED if problem["status"] < 500 else BROKEN
