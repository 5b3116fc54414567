"""One call of `StreamParse` or `ParseVideo`: sends and receives messages, raises the client's errors."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import grpc

from partstream.v1 import service_pb2
from partstream_client.errors import AnswerError, ConnectionFailedError
from partstream_client.streaming.status import error_of
from partstream_client.tls import Tls, bearer

Request = TypeVar("Request")
Response = TypeVar("Response")

MAX_MESSAGE_BYTES = 64 * 2**20
DEFAULT_PORT = 50051
_SERVICE = service_pb2.DESCRIPTOR.services_by_name["ParsingService"].full_name
# A channel is one connection of its own: it neither shares the pauses that gRPC makes after a failure, nor a
# slow reader's flow control.
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_retries", 0),
)

_HIDDEN: Final = "Internal error from Core"
"""Details of a status that gRPC made up itself."""
_SECOND_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the streams of a server."""

    addresses: tuple[str, ...]
    """host:port of each server that may be asked."""
    api_key: str | None
    tls: Tls | None
    """Certificates where the connection is encrypted."""


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """A method of the service that takes and gives streams."""

    name: str
    write: Callable[[Request], bytes]
    read: Callable[[bytes], Response]


STREAM_PARSE: Method[service_pb2.StreamParseRequest, service_pb2.StreamParseResponse] = Method(
    "StreamParse",
    service_pb2.StreamParseRequest.SerializeToString,
    service_pb2.StreamParseResponse.FromString,
)
PARSE_VIDEO: Method[service_pb2.ParseVideoRequest, service_pb2.ParseVideoResponse] = Method(
    "ParseVideo",
    service_pb2.ParseVideoRequest.SerializeToString,
    service_pb2.ParseVideoResponse.FromString,
)

SUBSCRIBE_SOURCE: Method[service_pb2.SubscribeSourceRequest, service_pb2.SubscribeSourceResponse] = Method(
    "SubscribeSource",
    service_pb2.SubscribeSourceRequest.SerializeToString,
    service_pb2.SubscribeSourceResponse.FromString,
)


class Connection(Generic[Request, Response]):
    """One call to one server.

    Args:
        method: What to call.
        address: host:port of the server.
        access: Key and certificates.
    """

    def __init__(self, method: Method[Request, Response], address: str, access: Access) -> None:
        self.address = address
        if access.tls is None:
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, access.tls.credentials(), options=_OPTIONS)
        start = self._channel.stream_stream(
            f"/{_SERVICE}/{method.name}",
            request_serializer=method.write,
            response_deserializer=method.read,
        )
        self._start = partial(start, metadata=tuple(bearer(access.api_key).items()))
        self._call: Any = self._start()
        self.opened = False
        """Whether the server has answered."""

    async def open(self, config: Request, timeout_s: float) -> Response:
        """Send the config; the first answer.

        Raises:
            ClientError: The server cannot be reached, refuses, or does not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._send_first(config)
                first = await self.read()
        except TimeoutError as error:
            raise ConnectionFailedError(
                f"{self.address} did not open the stream within {timeout_s:g} s"
            ) from error
        if first is None:
            raise AnswerError(f"{self.address} ended the call without an answer")
        self.opened = True
        return first

    async def _send_first(self, config: Request) -> None:
        """Send the config; a refusal that comes in the same moment must not hide behind the failed sending.

        gRPC replaces the server's status by one of its own where the call ends while a message goes up. A
        second call that waits before it sends gets to see the refusal.
        """
        try:
            await self._call.write(config)
        except grpc.aio.AioRpcError as error:
            if error.details() != _HIDDEN:
                raise await self._failure(error) from error
        except (asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._failure(error) from error
        else:
            return
        self._call = self._start()
        await asyncio.sleep(_SECOND_LOOK_S)
        await self.write(config)

    async def write(self, message: Request) -> None:
        """Send a message; waits while the server does not read.

        Raises:
            ClientError: The call has failed.
        """
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._failure(error) from error

    async def finish(self) -> None:
        """Say that no further message comes; a call that has ended does not mind."""
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reading side raises the error

    async def read(self) -> Response | None:
        """The next message, or None after the last one.

        Raises:
            ClientError: The call has failed.
        """
        try:
            message: Response | object = await self._call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            raise await self._failure(error) from error
        if message is not grpc.aio.EOF:
            return message  # type: ignore[return-value]
        if await self._call.code() is not grpc.StatusCode.OK:
            raise await self._failure(None)
        return None

    def abandon(self) -> None:
        """Cancel the call: pending reads and writes raise ConnectionFailedError."""
        self._call.cancel()

    async def close(self) -> None:
        """Let the connection go, whatever is under way on it."""
        self._call.cancel()
        await self._channel.close()

    async def _failure(self, error: BaseException | None) -> BaseException:
        """Why the call has ended.

        gRPC raises CancelledError also where the call was cancelled, by either side, and not the task.
        """
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling():
                return error
            return ConnectionFailedError(f"the stream from {self.address} was cancelled")
        if not isinstance(error, grpc.aio.AioRpcError):
            error = grpc.aio.AioRpcError(
                await self._call.code(),
                await self._call.initial_metadata(),
                await self._call.trailing_metadata(),
                await self._call.details(),
            )
        return error_of(error, self.address, opened=self.opened)


def checked_address(address: str) -> str:
    """The address with its port.

    Raises:
        ValueError: It is not host:port.
    """
    host, colon, port = address.rpartition(":")
    if "/" in address or not address.strip():
        raise ValueError(f"the address of a stream is host:port, got {address!r}")
    if not colon or address.endswith("]"):
        return f"{address}:{DEFAULT_PORT}"
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"the address of a stream is host:port, got {address!r}")
    return address


def access_of(url: str, streams: str | Sequence[str] | None, api_key: str | None, tls: Tls | None) -> Access:
    """How to reach streams, where nothing else is said: on the REST server's host, encrypted if that is.

    Raises:
        ValueError: An address is none.
    """
    parts = urlsplit(url)
    if streams is None:
        host = parts.hostname or "127.0.0.1"
        streams = f"[{host}]" if ":" in host else host
    listed = (streams,) if isinstance(streams, str) else tuple(streams)
    if not listed:
        raise ValueError("streams must name at least one address")
    encrypted = Tls() if tls is None and parts.scheme == "https" else tls
    return Access(tuple(checked_address(each) for each in listed), api_key, encrypted)
