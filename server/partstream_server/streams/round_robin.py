"""Round-robin order of streams: one frame of each stream that has one waiting, in turn."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """A member of the round-robin order."""

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to do."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the frames, once known; those of equal shape can share a batch."""


S = TypeVar("S", bound=Waiting)


class Turns(Generic[S]):
    """A round of streams; safe to use from several threads.

    No stream is handed to two workers at once, so its frames stay in order and its session has one user.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._round: deque[S] = deque()
        self._busy: set[int] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._round)

    def add(self, stream: S) -> None:
        """Put a stream into the round, unless it is there or at work already."""
        with self._changed:
            if id(stream) not in self._busy and not any(each is stream for each in self._round):
                self._round.append(stream)
                self._changed.notify()

    def take(self, most: int) -> list[S]:
        """The next stream, and others of its shape that wait too; nothing once the round is closed."""
        with self._changed:
            while not self._round and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            taken = [self._round.popleft()]
            shape = taken[0].shape
            alike = [each for each in self._round if shape is not None and each.shape == shape]
            for each in alike[: most - 1]:
                self._round.remove(each)
                taken.append(each)
            self._busy.update(map(id, taken))
            return taken

    def done(self, stream: S) -> None:
        """Put a stream back at the end of the round, if more of it waits."""
        with self._changed:
            self._busy.discard(id(stream))
            if stream.has_waiting:
                self._round.append(stream)
                self._changed.notify()

    def close(self) -> None:
        """Let all workers go."""
        with self._changed:
            self._closed = True
            self._round.clear()
            self._changed.notify_all()
