"""Streaming responses that release their resources however they end."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from partstream_server.service.presence import unless_gone

_CHUNK_BYTES: Final = 256 * 1024
_log = logging.getLogger("partstream.api")


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: chunks, and the headers that describe them."""

    chunks: AsyncGenerator[bytes, None]
    media_type: str
    headers: Mapping[str, str]


class StreamedResponse(Response):
    """Sends chunks as they come and closes what they came from.

    A client that leaves, or that reads nothing for `send_timeout_s`, ends the work behind the response.
    """

    def __init__(self, body: Body, *, resources: AsyncExitStack, send_timeout_s: float) -> None:
        """Take over.

        Args:
            body: What to send.
            resources: Closed after the last chunk, or as soon as there will be no further one.
            send_timeout_s: Longest time that one chunk may take to be sent.
        """
        self.status_code = 200
        self.media_type = body.media_type
        self.background = None
        self.init_headers(body.headers)
        self._chunks = body.chunks
        self._resources = resources
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        try:
            await unless_gone(Request(scope, receive), lambda: self._send_all(send))
        except ClientDisconnect:
            _log.info("client left", extra={"fields": {"path": scope["path"]}})
        except TimeoutError:
            fields = {"path": scope["path"], "seconds": self._send_timeout_s}
            _log.warning("client stopped reading", extra={"fields": fields})
        finally:
            with anyio.CancelScope(shield=True):
                await self._resources.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                with anyio.fail_after(self._send_timeout_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        # Before the end is told, so that a client that has its answer finds nothing of it left here.
        await self._resources.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def file_chunks(path: Path) -> AsyncGenerator[bytes, None]:
    """A file in pieces, read off the event loop."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(_CHUNK_BYTES):
            yield chunk


async def file_size(path: Path) -> int:
    """Bytes of a file."""
    return (await to_thread.run_sync(path.stat)).st_size
