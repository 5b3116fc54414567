"""The methods of the service. Each reads and writes message by message and buffers nothing of its own."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any, Final, TypeAlias

from grpc import aio

from partstream.v1 import service_pb2, service_pb2_grpc
from partstream_server.grpc.errors import reported_errors
from partstream_server.grpc.messages import (
    read_frame,
    read_stream_config,
    write_item,
    write_model,
    write_opened,
)
from partstream_server.grpc.sources import subscribe
from partstream_server.grpc.video import parse_video
from partstream_server.security.access import Account
from partstream_server.service.service import Service
from partstream_server.streams import Stream, StreamClosedError
from partstream_server.streams.errors import (
    ConfigMissingError,
    GoingAwayError,
    IdleError,
    SecondConfigError,
    SlowReaderError,
)

Request: TypeAlias = service_pb2.StreamParseRequest
StreamContext: TypeAlias = aio.ServicerContext[Request, service_pb2.StreamParseResponse]
_TRANSPORT: Final = "grpc"
_log = logging.getLogger("partstream.rpc")


class ParsingService(service_pb2_grpc.ParsingServiceServicer):
    """`partstream.v1.ParsingService`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def StreamParse(self, _requests: Any, context: StreamContext) -> None:
        """Frames of one live stream, each answered once and in order."""
        async with reported_errors(context, "StreamParse", self._service.tracing):
            account = admit(self._service, context)
            stream = await self._open(context, account)
            reader = asyncio.create_task(self._read_frames(context, stream))
            try:
                max_bytes = self._service.settings.max_message_bytes
                await self._write(context, write_opened(stream.opened, max_message_bytes=max_bytes))
                async for item in stream.answers():
                    await self._write(context, write_item(item))
                if stream.closed and not reader.done():
                    raise GoingAwayError("the server stopped; go on elsewhere, or later, with the last token")
                await reader
            finally:
                stream.close()
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def ParseVideo(self, _requests: Any, context: aio.ServicerContext[Any, Any]) -> None:
        """One file up, its results down."""
        async with reported_errors(context, "ParseVideo", self._service.tracing):
            await parse_video(self._service, admit(self._service, context), context)

    async def SubscribeSource(
        self, request: service_pb2.SubscribeSourceRequest, context: aio.ServicerContext[Any, Any]
    ) -> None:
        """Results of a pulled source from now on."""
        async with reported_errors(context, "SubscribeSource", self._service.tracing):
            await subscribe(self._service, admit(self._service, context), request.source_id, context)

    async def ListModels(
        self, _request: service_pb2.ListModelsRequest, context: aio.ServicerContext[Any, Any]
    ) -> service_pb2.ListModelsResponse:
        """The bundles that the server runs."""
        response = service_pb2.ListModelsResponse()
        async with reported_errors(context, "ListModels", self._service.tracing):
            admit(self._service, context)
            response.models.append(write_model(self._service.engine))
        return response

    async def _open(self, context: StreamContext, account: Account) -> Stream:
        """The stream that the first message asks for."""
        first = await self._next(context, self._service.settings.opening_timeout_s)
        if first is None or first.WhichOneof("request") != "config":
            raise ConfigMissingError("the first message of a stream must be its config")
        config = read_stream_config(first.config)
        return self._service.hub.open(config, transport=_TRANSPORT, account=account)

    async def _read_frames(self, context: StreamContext, stream: Stream) -> None:
        """Put the client's frames into the stream; whatever goes wrong ends it."""
        try:
            while (message := await self._next(context)) is not None:
                match message.WhichOneof("request"):
                    case "frame":
                        await stream.submit(read_frame(message.frame))
                    case "config":
                        raise SecondConfigError("a stream has one config, its first message")
                    case _:
                        raise ConfigMissingError("a message is a config or a frame, and this one is neither")
            stream.end()
        except StreamClosedError:
            return
        except Exception:
            stream.close()
            raise

    async def _next(self, context: StreamContext, most_s: float = math.inf) -> Request | None:
        """The client's next message, within the time of silence and within another one; None at the end."""
        limit_s = min(self._service.settings.stream_idle_s, most_s)
        try:
            async with asyncio.timeout(limit_s):
                message: object = await context.read()
        except TimeoutError:
            raise IdleError(f"nothing came for {limit_s:g} s") from None
        return message if isinstance(message, Request) else None

    async def _write(self, context: StreamContext, message: service_pb2.StreamParseResponse) -> None:
        limit_s = self._service.settings.send_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await context.write(message)
        except TimeoutError:
            raise SlowReaderError(f"nothing was read for {limit_s:g} s") from None


def admit(service: Service, context: aio.ServicerContext[Any, Any]) -> Account:
    """The account of the caller.

    Raises:
        AccessError: They are not let in.
    """
    metadata = context.invocation_metadata() or ()
    return service.access.admit([(str(name), value) for name, value in metadata])
