"""Errors of callers who may not call, or not as often.

PartstreamError
└── AccessError
├── KeyMissingError         key_missing
├── KeyWrongError           key_wrong
├── OriginError             foreign_origin
├── HostError               foreign_host
└── ThrottledError
├── RateLimitedError    rate_limited
└── QuotaExceededError  quota_exceeded
"""

from __future__ import annotations

from typing import ClassVar

from partstream_core.errors import PartstreamError


class AccessError(PartstreamError):
    """The caller is not let in."""


class KeyMissingError(AccessError):
    """No key was shown where one is asked for."""

    code: ClassVar[str] = "key_missing"


class KeyWrongError(AccessError):
    """Unknown API key."""

    code: ClassVar[str] = "key_wrong"


class OriginError(AccessError):
    """A browser sent this on behalf of another site."""

    code: ClassVar[str] = "foreign_origin"


class HostError(AccessError):
    """The request names another host than this service's."""

    code: ClassVar[str] = "foreign_host"


class ThrottledError(AccessError):
    """The caller has had its share for now.

    Args:
        message: What the share is.
        retry_after_s: When there will be more.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitedError(ThrottledError):
    """Too many requests in a short time."""

    code: ClassVar[str] = "rate_limited"


class QuotaExceededError(ThrottledError):
    """The day's frames are used up."""

    code: ClassVar[str] = "quota_exceeded"
