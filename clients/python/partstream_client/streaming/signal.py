"""A condition that tasks of one event loop wait for."""

import asyncio
from collections.abc import Callable


class Signal:
    """Wakes all waiting tasks; each checks its own condition again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        """Say that something has changed."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as it holds."""
        while not holds():
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
