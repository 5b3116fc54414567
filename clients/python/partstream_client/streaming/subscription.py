"""A source that the server pulls, followed over gRPC."""

from collections.abc import AsyncGenerator
from typing import Final

from partstream.v1 import service_pb2
from partstream_client.errors import AnswerError, ServerFailedError
from partstream_client.streaming import wire
from partstream_client.streaming.answers import SourceAnswer
from partstream_client.streaming.connection import SUBSCRIBE_SOURCE, Access, Connection

_OPEN_TIMEOUT_S: Final = 30.0
_BAD_GATEWAY: Final = 502
_FAILED: Final = service_pb2.SOURCE_STATE_FAILED

Wire = Connection[service_pb2.SubscribeSourceRequest, service_pb2.SubscribeSourceResponse]


async def subscribe(source_id: str, access: Access) -> AsyncGenerator[SourceAnswer]:
    """Answers for the frames of a pulled source, from now on, until it ends.

    A source belongs to one server, so that nothing is tried again.

    Args:
        source_id: The id that the server gave it.
        access: The server; the first of several.

    Raises:
        ClientError: There is no such source, the server cannot be reached, or the source failed.
    """
    address = access.addresses[0]
    connection: Wire = Connection(SUBSCRIBE_SOURCE, address, access)
    try:
        await connection.open(service_pb2.SubscribeSourceRequest(source_id=source_id), _OPEN_TIMEOUT_S)
        await connection.finish()
        while (message := await connection.read()) is not None:
            match message.WhichOneof("response"):
                case "answer":
                    yield wire.source_answer_of(message)
                case "ended":
                    _check(message.ended)
                    return
                case "going_away":
                    continue
                case _:
                    raise AnswerError("the server sent an empty message")
        raise AnswerError("the server's answer ended before its last message")
    finally:
        await connection.close()


def _check(ended: service_pb2.SourceEnded) -> None:
    if ended.state == _FAILED:
        raise ServerFailedError("source_failed", _BAD_GATEWAY, "the source cannot be read", ended.problem)
