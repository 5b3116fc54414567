"""When to try again, and how long to wait before."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Waits between tries; they grow, and are shortened at random so that clients do not return at once."""

    retries: int = 3
    """Tries after the first; 0 never tries again."""
    first_wait_s: float = 0.5
    factor: float = 2.0
    longest_wait_s: float = 10.0
    """Also the most that a server's Retry-After is followed."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries}")
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1, got {self.factor}")
        if not 0 <= self.first_wait_s <= self.longest_wait_s:
            raise ValueError(
                f"waits must satisfy 0 <= first <= longest, got {self.first_wait_s} and {self.longest_wait_s}"
            )

    def waits_s(self, rng: random.Random) -> Iterator[float]:
        """Seconds to wait before each further try; between half and all of the step's length."""
        wait_s = self.first_wait_s
        for _ in range(self.retries):
            yield wait_s * rng.uniform(0.5, 1.0)
            wait_s = min(wait_s * self.factor, self.longest_wait_s)
