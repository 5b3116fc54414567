"""Retry schedule of a live stream's connections: total time and pauses."""

import random

from partstream_client.retry import RetryPolicy

_FIRST_WAIT_S, _FACTOR, _LONGEST_WAIT_S = 0.1, 2.0, 2.0


class Patience:
    """Waits between tries to get a stream going, and to keep it so.

    A stream that never was open follows the retry policy. One that was open is resumed: at once, then after
    waits that grow, until nothing has come of it for too long.

    Args:
        retry: When to try again to open the stream for the first time.
        give_up_s: How long to try to resume.
        rng: Makes waits uneven, so that clients of a server do not return all at once.
    """

    def __init__(self, retry: RetryPolicy, give_up_s: float, rng: random.Random) -> None:
        self._first_waits_s = retry.waits_s(rng)
        self._give_up_s = give_up_s
        self._rng = rng
        self._was_open = False
        self._trouble_since_s: float | None = None
        self._wait_s = 0.0

    def opened(self) -> None:
        """Note that a server has opened the stream."""
        self._was_open = True

    def progress(self) -> None:
        """Note that a frame was answered: trouble is over."""
        self._trouble_since_s = None

    def wait_s(self, now_s: float, asked_s: float = 0.0) -> float | None:
        """Seconds to wait before the next try, at least those the server asked for; None to give up."""
        if not self._was_open:
            wait_s = next(self._first_waits_s, None)
            return None if wait_s is None else max(wait_s, min(asked_s, self._give_up_s))
        if self._trouble_since_s is None:
            self._trouble_since_s, self._wait_s = now_s, _FIRST_WAIT_S
            return asked_s if asked_s <= self._give_up_s else None
        if now_s - self._trouble_since_s > self._give_up_s:
            return None
        wait_s = self._wait_s * self._rng.uniform(0.5, 1.0)
        self._wait_s = min(self._wait_s * _FACTOR, _LONGEST_WAIT_S)
        return max(wait_s, min(asked_s, self._give_up_s))
