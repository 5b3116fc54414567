"""How long each stage takes, and how much of that its thread computed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StageClock:
    """Sums what stages take, by name, on the clocks it is given."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.perf_counter,
        cpu_now_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._now_s, self._cpu_now_s = now_s, cpu_now_s
        self.total_s: defaultdict[str, float] = defaultdict(float)
        """Seconds from begin to end."""
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        """Seconds that the stage's own thread computed."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside to a stage."""
        start_s, cpu_start_s = self._now_s(), self._cpu_now_s()
        try:
            yield
        finally:
            self.total_s[name] += self._now_s() - start_s
            self.cpu_s[name] += self._cpu_now_s() - cpu_start_s
