"""How long each stage takes, and how much of that its thread computed."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StageClock:
    """Sums what stages take, by name, on the clocks it is given; threads may share one."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.perf_counter,
        cpu_now_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._now_s, self._cpu_now_s = now_s, cpu_now_s
        self._lock = threading.Lock()
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
            took_s, computed_s = self._now_s() - start_s, self._cpu_now_s() - cpu_start_s
            with self._lock:
                self.total_s[name] += took_s
                self.cpu_s[name] += computed_s

    def totals(self) -> dict[str, float]:
        """Seconds from begin to end by stage, as they stand now."""
        with self._lock:
            return dict(self.total_s)
