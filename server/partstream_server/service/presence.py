"""Cancels work when the client that requested it disconnects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_gone(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """The work's result; the work is cancelled if the client leaves first.

    The request's body must have been read.

    Raises:
        ClientDisconnect: The client left. What was in a thread has ended by then.
    """
    results: list[T] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            try:
                results.append(await work())
            except Exception as error:  # raised again below, outside of the task group
                errors.append(error)
            tasks.cancel_scope.cancel()

        tasks.start_soon(run)
        await _departure(request)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not results:
        raise ClientDisconnect
    return results[0]


async def _departure(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
