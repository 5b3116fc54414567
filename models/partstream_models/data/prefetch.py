"""Training draws that threads prepare ahead of time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Drawn = TypeVar("Drawn")


class Ahead(Generic[Drawn]):
    """A function of a number that is called with numbers a fixed stride apart.

    It computes the next ones while the last is used, never more than twice as many as it has threads; any
    other number is computed when it is asked for. The function must give the same for the same number,
    whatever the thread.

    Args:
        draw: The function.
        stride: Distance of the numbers.
        num_threads: 0 computes everything when it is asked for.
    """

    def __init__(self, draw: Callable[[int], Drawn], *, stride: int, num_threads: int) -> None:
        if stride < 1 or num_threads < 0:
            raise ValueError(f"cannot draw ahead by {stride} in {num_threads} threads")
        self._draw, self._stride, self._num_threads = draw, stride, num_threads
        self._pool = ThreadPoolExecutor(num_threads, "draw") if num_threads else None
        self._coming: dict[int, Future[Drawn]] = {}

    def draw(self, number: int) -> Drawn:
        """What the function gives; its errors are raised here, for the number they belong to."""
        if self._pool is None:
            return self._draw(number)
        wanted = range(number, number + (2 * self._num_threads + 1) * self._stride, self._stride)
        for old in [each for each in self._coming if each not in wanted]:
            self._coming.pop(old).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._pool.submit(self._draw, each)
        return self._coming.pop(number).result()

    def close(self) -> None:
        """Stop; what was not asked for is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
