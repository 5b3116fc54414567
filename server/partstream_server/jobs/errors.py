"""Errors of jobs.

PartstreamError
├── JobUnknownError           not_found
├── JobUnfinishedError        job_unfinished
├── IdempotencyError          idempotency_conflict
├── BundleChangedError        bundle_changed
├── DiskQuotaError            disk_quota_exceeded
└── BusyError
├── JobsFullError         busy
└── JobsUnavailableError  jobs_unavailable
"""

from __future__ import annotations

from typing import ClassVar

from partstream_core.errors import BusyError, PartstreamError


class JobUnknownError(PartstreamError):
    """There is no such job, or it is another key's."""

    code: ClassVar[str] = "not_found"


class JobUnfinishedError(PartstreamError):
    """The job has no results yet, or never will."""

    code: ClassVar[str] = "job_unfinished"


class IdempotencyError(PartstreamError):
    """The Idempotency-Key was used for a job with other options."""

    code: ClassVar[str] = "idempotency_conflict"


class BundleChangedError(PartstreamError):
    """The server runs another bundle than the one that parsed the first part of the job."""

    code: ClassVar[str] = "bundle_changed"


class DiskQuotaError(PartstreamError):
    """The jobs of one key take as much of the disk as they may."""

    code: ClassVar[str] = "disk_quota_exceeded"


class JobsFullError(BusyError):
    """As many jobs of one key wait as may."""


class JobsUnavailableError(BusyError):
    """The data directory cannot be used."""

    code: ClassVar[str] = "jobs_unavailable"
