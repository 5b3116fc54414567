"""A deadline for a whole request."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from partstream_client.errors import DeadlineError

T = TypeVar("T")
_END = object()


class Deadline:
    """A moment, counted from now.

    Args:
        seconds: How long there is; None for ever.

    Raises:
        ValueError: No time at all.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"deadline_s must be positive, got {seconds}")
        self._seconds = seconds
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    async def wait(self, work: Awaitable[T]) -> T:
        """Result of the work, if it ends before the deadline.

        Raises:
            DeadlineError: It did not.
        """
        try:
            async with asyncio.timeout_at(self._at) as scope:
                return await work
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise DeadlineError(f"not done within {self._seconds:g} s") from error


async def bounded(items: AsyncGenerator[T], deadline_s: float | None) -> AsyncGenerator[T]:
    """The same items, as long as there is time; the time that the reader takes counts.

    Raises:
        DeadlineError: Time was up before the end.
    """
    deadline = Deadline(deadline_s)
    try:
        while (item := await deadline.wait(anext(items, _END))) is not _END:
            yield item  # type: ignore[misc]
    finally:
        await items.aclose()
