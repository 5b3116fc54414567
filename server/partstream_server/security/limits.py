"""Rate limits and quotas of a key: requests a minute, frames a day.

The clock is the caller's: seconds that never run backwards.
"""

from __future__ import annotations

import threading
from typing import Final

from partstream_server.security.errors import QuotaExceededError, RateLimitedError

_MINUTE_S: Final = 60.0
_DAY_S: Final = 86_400.0


class RateLimit:
    """A bucket of requests that fills evenly: a minute's worth at once, and then as fast as it fills."""

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._left = self._size
        self._filled_s: float | None = None
        self._lock = threading.Lock()

    def take(self, now_s: float) -> None:
        """Take one request out.

        Raises:
            RateLimitedError: The bucket is empty.
        """
        if not self._size:
            return
        with self._lock:
            passed_s = 0.0 if self._filled_s is None else max(0.0, now_s - self._filled_s)
            self._filled_s = now_s
            self._left = min(self._size, self._left + passed_s * self._size / _MINUTE_S)
            if self._left < 1:
                wait_s = (1 - self._left) * _MINUTE_S / self._size
                raise RateLimitedError(
                    f"this key may make {self._size:g} requests a minute", retry_after_s=wait_s
                )
            self._left -= 1


class FrameQuota:
    """Frames of a day, which begins with the first frame of a key and again when it is over."""

    def __init__(self, per_day: int) -> None:
        self._per_day = per_day
        self._used = 0
        self._began_s: float | None = None
        self._lock = threading.Lock()

    def check(self, now_s: float) -> None:
        """Whether there is a frame left.

        Raises:
            QuotaExceededError: There is none.
        """
        with self._lock:
            self._check(now_s)

    def take(self, now_s: float) -> None:
        """Use one frame.

        Raises:
            QuotaExceededError: There is none left.
        """
        if not self._per_day:
            return
        with self._lock:
            self._check(now_s)
            if self._began_s is None:
                self._began_s = now_s
            self._used += 1

    def _check(self, now_s: float) -> None:
        if not self._per_day:
            return
        if self._began_s is not None and now_s - self._began_s >= _DAY_S:
            self._began_s, self._used = None, 0
        if self._began_s is not None and self._used >= self._per_day:
            wait_s = self._began_s + _DAY_S - now_s
            raise QuotaExceededError(
                f"this key may have {self._per_day} frames parsed a day", retry_after_s=wait_s
            )
