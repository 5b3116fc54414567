"""Values of an iterator, computed ahead on a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates over something on its own thread, at most so many values ahead of the reader.

    An error of the iterable is raised where its next value would have been. `close` stops the thread and
    waits for it, so that what the iterable reads from can be closed after it.
    """

    def __init__(self, values: Iterable[T], *, ahead: int, name: str) -> None:
        if ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {ahead}")
        self._values, self._ahead = values, ahead
        self._ready: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, name=f"partstream-{name}", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        error: BaseException | None = None
        try:
            for value in self._values:
                if not self._offer(value):
                    break
        except BaseException as caught:  # raised again on the reader's thread
            error = caught
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _offer(self, value: T) -> bool:
        """Wait for room and add a value; False if the consumer has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < self._ahead)
            if not self._closed:
                self._ready.append(value)
            self._changed.notify_all()
            return not self._closed

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._ended or self._closed)
                if self._closed or not self._ready:
                    break
                value = self._ready.popleft()
                self._changed.notify_all()
            yield value
        if self._error is not None and not self._closed:
            raise self._error

    def close(self) -> None:
        """Stop the thread, and wait until the value it works on is done."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()
