"""Admission control: how many requests and unopened WebSockets are accepted, and in which order they run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from starlette.requests import Request

from partstream_core.errors import BusyError
from partstream_server.service.presence import unless_gone


class Gate:
    """Lets a bounded number of requests in, and of those a smaller number parse at a time.

    A request is let in before its upload, so that nobody sends a large file only to be turned away; its turn
    comes after the upload, so that a slow sender keeps nobody waiting.
    """

    def __init__(self, *, max_concurrent: int, queue: int) -> None:
        self._max_inside = max_concurrent + queue
        self._turns = anyio.Semaphore(max_concurrent)
        self.num_inside = 0
        self.num_parsing = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place inside.

        Raises:
            BusyError: All are taken.
        """
        if self.num_inside >= self._max_inside:
            raise BusyError(f"{self.num_inside} requests are in work or waiting already; try again later")
        self.num_inside += 1
        try:
            yield
        finally:
            self.num_inside -= 1

    @asynccontextmanager
    async def turn(self, request: Request | None = None) -> AsyncIterator[None]:
        """The right to parse, first come, first served.

        Args:
            request: Ends the wait if its client leaves; a call that is cancelled then needs none.

        Raises:
            ClientDisconnect: The client left before its turn.
        """
        taken = False

        async def take() -> None:
            nonlocal taken
            await self._turns.acquire()
            taken = True

        try:
            await (take() if request is None else unless_gone(request, take))
            self.num_parsing += 1
            try:
                yield
            finally:
                self.num_parsing -= 1
        finally:
            if taken:
                self._turns.release()


class Openings:
    """Lets a bounded number of WebSockets in whose config, and so whose key, has not come yet."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self.num_inside = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place until the config has come.

        Raises:
            BusyError: All are taken.
        """
        if self.num_inside >= self._most:
            raise BusyError(f"{self.num_inside} WebSockets wait for their config already; try again later")
        self.num_inside += 1
        try:
            yield
        finally:
            self.num_inside -= 1
