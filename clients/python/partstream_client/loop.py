"""An event loop on a background thread, for synchronous callers of asynchronous code."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


class LoopThread:
    """Runs coroutines for callers on other threads; each call waits for its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._closed = False
        self._last: asyncio.Task[None] | None = None  # tasks are kept only by who holds them
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="partstream-client", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._closed

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Result of the coroutine. An interrupt of the caller (Ctrl-C) cancels it.

        Raises:
            RuntimeError: The thread has been closed, or is the caller's own.
        """
        try:
            self._check_usable()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise
        try:
            return future.result()
        except CancelledError as error:
            raise RuntimeError("the client was closed meanwhile") from error
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Result of the function, called on the loop's thread."""

        async def call() -> T:
            return function()

        return self.run(call())

    def iterate(self, start: Callable[[], AsyncGenerator[T]]) -> Generator[T]:
        """Values of an asynchronous generator; closing this one closes it."""
        items = self.call(start)
        turn = self.call(asyncio.Lock)  # a step that was interrupted ends before the generator is closed

        async def step() -> T | object:
            async with turn:
                return await anext(items, _END)

        async def finish() -> None:
            async with turn:
                await items.aclose()

        try:
            while (item := self.run(step())) is not _END:
                yield item  # type: ignore[misc]
        finally:
            self._finish(finish())

    def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Close an iteration; the garbage collector may call this on the loop's thread."""
        if self._closed:
            work.close()  # what was open has been closed with the loop
        elif threading.current_thread() is self._thread:
            self._last = self._loop.create_task(work)
        else:
            self.run(work)

    def close(self) -> None:
        """Cancel running coroutines and end the thread; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a callback must not wait for the client that calls it")

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            self._loop.set_exception_handler(_report)
            runner.run(self._wait())

    async def _wait(self) -> None:
        await self._stop.wait()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report uncaught exceptions, except one harmless error of gRPC.

    With several event loops in a process all of them are woken for one event of gRPC, and all but one then
    find nothing to read (https://github.com/grpc/grpc/issues/25364).
    """
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
