"""Turns an iterable of frames, asynchronous or not, into one asynchronous iterator.

An ordinary iterable may block for as long as it likes (a camera does), so it is read on a thread of its own.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_PATIENCE_S = 2.0


class Pump(Protocol[T_co]):
    """Gives items one at a time."""

    async def next(self) -> T_co:
        """The next item. Raises StopAsyncIteration at the end, and whatever the iterable raises."""

    async def close(self) -> None:
        """Let the iterable go, so that it can release what it holds."""


def pump_of(items: Iterable[T] | AsyncIterable[T]) -> Pump[T]:
    """A pump for either kind.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(items, AsyncIterable):
        return AsyncPump(items)
    if isinstance(items, str | bytes) or not hasattr(items, "__iter__"):
        raise TypeError(f"frames come from an iterable of images, got {type(items).__name__}")
    return ThreadPump(items)


class AsyncPump(Generic[T]):
    """Gives the items of an asynchronous iterable."""

    def __init__(self, items: AsyncIterable[T]) -> None:
        self._items: AsyncIterator[T] = aiter(items)

    async def next(self) -> T:
        """The next item."""
        return await anext(self._items)

    async def close(self) -> None:
        """Close the iterable, if that can be done."""
        if (close := getattr(self._items, "aclose", None)) is not None:
            await close()


class ThreadPump(Generic[T]):
    """Gives the items of an ordinary iterable, which it reads on a thread of its own.

    The thread is a daemon: a camera that never gives its next frame does not keep the process from ending.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._wanted: queue.SimpleQueue[asyncio.Future[T] | None] = queue.SimpleQueue()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name="partstream-frames", daemon=True)
        self._thread.start()

    async def next(self) -> T:
        """The next item."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._wanted.put(future)
        return await future

    async def close(self) -> None:
        """Close the iterable as soon as it has given what it was asked for; wait a while for that."""
        self._wanted.put(None)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._ended.wait()
        except TimeoutError:
            return
        self._thread.join()

    def _read(self) -> None:
        iterator: Iterator[T] | None = None
        try:
            while (future := self._wanted.get()) is not None:
                try:
                    iterator = iter(self._items) if iterator is None else iterator
                    item = next(iterator)
                except StopIteration:
                    self._fail(future, StopAsyncIteration())
                except BaseException as error:
                    self._fail(future, error)
                else:
                    self._give(future, item)
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()
            self._call(self._ended.set)

    def _give(self, future: asyncio.Future[T], item: T) -> None:
        self._call(lambda: None if future.done() else future.set_result(item))

    def _fail(self, future: asyncio.Future[T], error: BaseException) -> None:
        self._call(lambda: None if future.done() else future.set_exception(error))

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return  # the loop was closed while the iterable kept this thread waiting
