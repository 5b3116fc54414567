"""A generator of blocking steps, driven from the event loop with each step in a worker thread."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Final, Generic, Self, TypeVar, cast

import anyio
from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
_END: Final = object()


class ThreadedSteps(Generic[T]):
    """The values of a generator that decodes, computes and writes.

    Nothing runs ahead: a step begins when its value is asked for. A lock keeps `aclose` from meeting a step
    whose caller was cancelled while it ran.
    """

    def __init__(self, steps: Generator[T, None, None], limiter: CapacityLimiter) -> None:
        self._steps = steps
        self._limiter = limiter
        self._running = threading.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        value = await to_thread.run_sync(self._next, limiter=self._limiter)
        if value is _END:
            raise StopAsyncIteration
        return cast(T, value)

    async def run(self) -> None:
        """Take every step, for what it does."""
        async for _ in self:
            pass

    async def aclose(self) -> None:
        """Close the generator, and with it whatever it holds open."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close, limiter=self._limiter)

    def _next(self) -> object:
        with self._running:
            return next(self._steps, _END)

    def _close(self) -> None:
        with self._running:
            self._steps.close()
