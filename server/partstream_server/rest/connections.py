"""Limits on HTTP and WebSocket connections: their number for an address, the time for a request's head."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from partstream_core.errors import BusyError
from partstream_server.rest.problems import PROBLEM_TYPE, RETRY_AFTER_S, problem_document


class Connections:
    """How many connections each address has; used on the event loop alone."""

    def __init__(self, *, most: int) -> None:
        """Begin with none.

        Args:
            most: Connections of one address; 0: any number.
        """
        self.most = most
        self._counts: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """Count a connection; whether the address may have it."""
        if self.most and self._counts[address] >= self.most:
            return False
        self._counts[address] += 1
        return True

    def release(self, address: str) -> None:
        """Forget a connection that was counted."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


class LimitedHttp(H11Protocol):
    """uvicorn's HTTP protocol with a limit of connections and a time for the head of a request."""

    open_ones: ClassVar[Connections]
    head_timeout_s: ClassVar[float]
    _counted = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count a connection, or answer it with a problem."""
        super().connection_made(transport)
        self._counted = self.open_ones.take(_address(self.client))
        if self._counted:
            self._watch_head()
        else:
            transport.write(_refusal(self.open_ones.most))
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass data on."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_watching()
        if self._counted:
            self.open_ones.release(_address(self.client))
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """Time the head while it is incomplete; uvicorn times the pauses between requests."""
        if self.conn.their_state is not h11.IDLE or self.timeout_keep_alive_task is not None:
            self._stop_watching()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class LimitedSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which takes over a connection that `LimitedHttp` counted."""

    open_ones: ClassVar[Connections]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.open_ones.release(_address(self.client))
        super().connection_lost(exc)


def limited_protocols(
    *, most: int, head_timeout_s: float
) -> tuple[type[H11Protocol], type[WebSocketsSansIOProtocol]]:
    """Protocols of one server, which share one count of connections.

    Args:
        most: Connections of one address; 0: any number.
        head_timeout_s: Longest time from a connection's begin, or a request's first byte, to the end of its
            head.
    """
    limits = {"open_ones": Connections(most=most), "head_timeout_s": head_timeout_s}
    return type("Http", (LimitedHttp,), limits), type("Socket", (LimitedSocket,), limits)


def _address(client: tuple[str, int] | None) -> str:
    return client[0] if client else ""


def _refusal(most: int) -> bytes:
    """The answer to a connection too many."""
    document: dict[str, Any] = problem_document(
        BusyError(f"this address has {most} connections already; close one or try again later")
    )
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {PROBLEM_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {RETRY_AFTER_S}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
