"""Runs HTTP and gRPC on one event loop, from start to graceful shutdown.

A signal begins the end: `/readyz` and gRPC health turn red, live streams are told to go elsewhere, and what
is in flight finishes. When all is done, or the grace is over, what is left is cut off with a word about why.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from partstream_server.grpc.server import GrpcServer
from partstream_server.security.tls import Tls
from partstream_server.service.service import Service

LAST_WORDS_S: Final = 2
"""How long answers that were cut off have to reach their clients."""
_TICK_S: Final = 0.02
_log = logging.getLogger("partstream.lifetime")


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the caller handles signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Lifetime:
    """One run of a server.

    Args:
        http: Serves the application.
        service: Of the application.
        say: Told where the server listens, once it does.
    """

    def __init__(self, http: HttpServer, service: Service, *, say: Callable[[int | None], None]) -> None:
        self._http, self._service, self._say = http, service, say
        self._grpc = GrpcServer(service) if service.settings.grpc else None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()

    async def run(self, listener: socket.socket, tls: Tls | None) -> None:
        """Serve until a signal comes or the engine cannot be opened.

        Raises:
            GrpcAddressError: The port of gRPC cannot be listened on.
        """
        settings = self._service.settings
        with _signals(self.stop):
            if self._grpc is not None:
                await self._grpc.start(settings.host, settings.grpc_port, tls)
            self._say(self._grpc.port if self._grpc else None)
            serving = asyncio.create_task(self._http.serve(sockets=[listener]))
            green = asyncio.create_task(self._turn_green())
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in (green, stopped):
                task.cancel()
            if not serving.done():
                await self._drain(settings.shutdown_timeout_s)
            if self._grpc is not None:
                await self._grpc.stop(LAST_WORDS_S)
            self._http.should_exit = True
            await serving
            await asyncio.to_thread(self._service.close_streams)

    def stop(self) -> None:
        """Begin the end; a second time, do not wait for anybody."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _turn_green(self) -> None:
        await self._service.loaded.wait()
        if self._grpc is not None:
            await self._grpc.tell_health(serving=True)

    async def _drain(self, grace_s: float) -> None:
        service = self._service
        _log.info("draining", extra={"fields": {"grace_s": grace_s}})
        service.drain.begin()
        if self._grpc is not None:
            await self._grpc.tell_health(serving=False)
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(self._all_done(grace_s)),
            asyncio.create_task(self._hurry.wait()),
        ]
        await asyncio.wait(tasks, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        service.drain.expired.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await service.drain_streams(0)

    async def _all_done(self, grace_s: float) -> None:
        """Return when no stream is open and no upload inside any more."""
        await self._service.drain_streams(grace_s)
        while self._service.gate.num_inside:
            await asyncio.sleep(_TICK_S)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and Ctrl+C call `stop` while inside; signals come to the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        else:
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if sys.platform != "win32":
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
