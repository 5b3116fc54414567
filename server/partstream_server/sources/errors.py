"""Errors of pulled sources.

PartstreamError
├── SourceForbiddenError    source_forbidden
├── SourceUnknownError      not_found
├── SourceFailedError       source_failed
└── BusyError
└── SourcesFullError    busy
"""

from __future__ import annotations

from typing import ClassVar

from partstream_core.errors import BusyError, PartstreamError


class SourceForbiddenError(PartstreamError):
    """The settings do not let the server go there."""

    code: ClassVar[str] = "source_forbidden"


class SourceUnknownError(PartstreamError):
    """There is no such source, or it is another key's."""

    code: ClassVar[str] = "not_found"


class SourceFailedError(PartstreamError):
    """The source cannot be reached, or what it sends cannot be read."""

    code: ClassVar[str] = "source_failed"


class SourcesFullError(BusyError):
    """As many sources are pulled as may be."""
