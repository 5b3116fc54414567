"""A token bucket: how many key frames a second a stream may have, in the time of the stream."""

import math
from dataclasses import dataclass

from partstream_core.schedule.errors import ScheduleError

_ROUNDING = 1e-9
"""Tokens come in fractions; ten tenths are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Key frames that a stream may have."""

    keys_per_second: float
    burst: float = 2.0
    """Key frames that a quiet stretch saves up at most; a stream begins with as many."""
    borrow: float = 2.0
    """Key frames that scene cuts, and frames with no key to borrow from, may take in advance."""

    def __post_init__(self) -> None:
        if not 0 < self.keys_per_second < math.inf:
            raise ScheduleError("budget.keys_per_second", f"must be above 0, got {self.keys_per_second}")
        if not 1 <= self.burst < math.inf:
            raise ScheduleError("budget.burst", f"must be at least 1, got {self.burst}")
        if not 0 <= self.borrow < math.inf:
            raise ScheduleError("budget.borrow", f"must be at least 0, got {self.borrow}")

    def after(self, tokens: float, seconds: float) -> float:
        """Tokens after a time without key frames; none come where the clock ran back."""
        return min(self.burst, tokens + max(seconds, 0.0) * self.keys_per_second)

    def without(self, tokens: float) -> float:
        """Tokens after a key frame."""
        return max(tokens - 1, -self.borrow)

    def allows(self, tokens: float, *, urgent: bool) -> bool:
        """Whether there may be a key frame."""
        return tokens - 1 >= (-self.borrow if urgent else 0) - _ROUNDING
