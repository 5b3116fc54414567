"""Graceful shutdown: announces it to streams, lets work in flight finish, then stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from partstream_server.streams.errors import GoingAwayError

T = TypeVar("T")


class Drain:
    """How far the end has come."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self.expired = asyncio.Event()
        """Set when the grace is over: whatever is still at work has to end now."""

    @property
    def draining(self) -> bool:
        """Whether nothing new may begin."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Begin nothing new from now on."""
        self._begun.set()

    def check(self) -> None:
        """Refuse what would begin now.

        Raises:
            GoingAwayError: The end has begun.
        """
        if self.draining:
            raise GoingAwayError("the server is about to stop; ask another one, or later")

    async def wait(self) -> None:
        """Return when the end begins."""
        await self._begun.wait()

    async def unless_over(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work's result; the work is cancelled if the grace ends first.

        Raises:
            GoingAwayError: It ended.
        """
        task, over = asyncio.ensure_future(work()), asyncio.ensure_future(self.expired.wait())
        try:
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise GoingAwayError("the server stopped before this was done; send it again, elsewhere or later")
        finally:
            over.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, over, return_exceptions=True)
