"""The end of a server's life, in order: it says that it leaves, work in flight finishes, then all stops."""

from __future__ import annotations

import asyncio


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

    async def wait(self) -> None:
        """Return when the end begins."""
        await self._begun.wait()
