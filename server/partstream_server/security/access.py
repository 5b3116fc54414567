"""Authentication, rate limits and quotas of callers, for REST, WebSockets and gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from partstream_server.config.api_keys import KeyRing
from partstream_server.config.settings import Settings
from partstream_server.security.errors import KeyWrongError
from partstream_server.security.keys import holder, presented_key
from partstream_server.security.limits import FrameQuota, RateLimit

ANYONE: Final = "anyone"
"""The account that all callers share where no key is asked for."""

Clock = Callable[[], float]


class Account:
    """Usage of one API key's owner; safe to use from several threads."""

    def __init__(self, name: str, rate: RateLimit, quota: FrameQuota, clock: Clock) -> None:
        self.name = name
        """Name of the key's owner, for logs."""
        self._rate, self._quota, self._clock = rate, quota, clock

    def begin(self) -> None:
        """Count a request or the opening of a stream.

        Raises:
            ThrottledError: There were too many, or no frame is left for it.
        """
        now_s = self._clock()
        self._quota.check(now_s)
        self._rate.take(now_s)

    def use_frame(self) -> None:
        """Count a frame, before or after it is parsed.

        Raises:
            QuotaExceededError: There is none left today.
        """
        self._quota.take(self._clock())


class Access:
    """Tells callers by their keys; every key has an account of its own."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        requests_per_minute: int = 0,
        frames_per_day: int = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        """Open the accounts.

        Args:
            ring: The keys; where it is empty, everyone is let in and shares one account.
            requests_per_minute: Of one key; 0: any number.
            frames_per_day: Of one key; 0: any number.
            clock: Seconds that never run backwards.
        """
        self._ring = ring
        self._accounts = {
            name: Account(name, RateLimit(requests_per_minute), FrameQuota(frames_per_day), clock)
            for name in (ring.names or (ANYONE,))
        }

    @classmethod
    def of(cls, settings: Settings, clock: Clock = time.monotonic) -> Access:
        """The access that settings describe."""
        return cls(
            settings.key_ring(),
            requests_per_minute=settings.rate_limit,
            frames_per_day=settings.frame_quota,
            clock=clock,
        )

    @property
    def asks_for_key(self) -> bool:
        """Whether callers must show one."""
        return len(self._ring) > 0

    def account(self, key: str | None) -> Account:
        """The account that an API key belongs to.

        Raises:
            KeyMissingError, KeyWrongError: The caller is not let in.
        """
        return self._accounts[holder(self._ring, key) if self.asks_for_key else ANYONE]

    def named(self, name: str) -> Account:
        """The account of a key's holder.

        Raises:
            KeyWrongError: There is no such key any more.
        """
        if name not in self._accounts:
            raise KeyWrongError(f"there is no key of {name} any more")
        return self._accounts[name]

    def admit(self, headers: Iterable[tuple[str | bytes, str | bytes]]) -> Account:
        """The account of a caller, with this request counted.

        Args:
            headers: HTTP headers or gRPC metadata.

        Raises:
            AccessError: The caller is not let in, or not now.
        """
        account = self.account(presented_key(headers))
        account.begin()
        return account
