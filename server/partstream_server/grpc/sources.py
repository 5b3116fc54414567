"""SubscribeSource: results of a pulled source for its subscribers."""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from grpc import aio

from partstream.v1 import service_pb2
from partstream_server.grpc.messages import write_item, write_opened
from partstream_server.security.access import Account
from partstream_server.service.service import Service
from partstream_server.sources.source import Follower, Source, State
from partstream_server.streams import Answer, GoingAway
from partstream_server.streams.errors import SlowReaderError

Request: TypeAlias = service_pb2.SubscribeSourceRequest
Response: TypeAlias = service_pb2.SubscribeSourceResponse
Context: TypeAlias = aio.ServicerContext[Request, Response]
_STATES: Final = {
    State.ENDED: service_pb2.SOURCE_STATE_ENDED,
    State.FAILED: service_pb2.SOURCE_STATE_FAILED,
    State.STOPPED: service_pb2.SOURCE_STATE_STOPPED,
}


async def subscribe(service: Service, account: Account, source_id: str, context: Context) -> None:
    """Send a source's results until the source ends or the client leaves.

    Raises:
        PartstreamError: There is no such source, or the client does not read.
    """
    source = service.sources.get(source_id, account).source
    max_bytes, limit_s = service.settings.max_message_bytes, service.settings.send_timeout_s
    opened = write_opened(source.stream.opened, max_message_bytes=max_bytes).opened
    follower = source.follow()
    try:
        await _write(context, Response(opened=opened), limit_s)
        async for item in follower.items():
            await _write(context, _response(item, source, follower), limit_s)
        await _write(context, Response(ended=_ended(source), num_missed=follower.num_missed), limit_s)
    finally:
        source.leave(follower)


def _response(item: Answer | GoingAway, source: Source, follower: Follower) -> Response:
    width, height = source.size or (0, 0)
    response = Response(num_missed=follower.num_missed, width=width, height=height)
    written = write_item(item)
    if isinstance(item, GoingAway):
        response.going_away.CopyFrom(written.going_away)
    else:
        response.answer.CopyFrom(written.answer)
        response.time_s = item.time_s
    return response


def _ended(source: Source) -> service_pb2.SourceEnded:
    """How it ended. A source whose thread has not noticed yet was told to stop."""
    state = _STATES.get(source.state, service_pb2.SOURCE_STATE_STOPPED)
    return service_pb2.SourceEnded(state=state, problem=source.problem, num_frames=source.num_frames)


async def _write(context: Context, message: Response, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await context.write(message)
    except TimeoutError:
        raise SlowReaderError(f"nothing was read for {limit_s:g} s") from None
