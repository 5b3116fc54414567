"""Errors of requests, and the one table that gives every error its status codes.

    PartstreamError
    ├── MediaError
    │   └── MalformedUploadError    malformed_upload
    ├── OptionError
    │   ├── BadOptionError          bad_option
    │   ├── UnknownOptionError      unknown_option
    │   └── UploadFieldError        bad_upload_field
    ├── BusyError
    │   └── NotReadyError           not_ready
    ├── UploadTimeoutError          upload_timeout
    └── StorageFullError            storage_full

The tree begins in `partstream_core.errors`; who may call is told by `partstream_server.security.errors`,
and what goes wrong in live streams by `partstream_server.streams.errors`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from partstream_core.errors import BusyError, MediaError, OptionError, PartstreamError


class MalformedUploadError(MediaError):
    """The body breaks the rules of multipart/form-data, or ends too early."""

    code: ClassVar[str] = "malformed_upload"


class UnknownOptionError(OptionError):
    """There is no such option.

    Args:
        option: The name that is not known.
        known: The names that are.
    """

    code: ClassVar[str] = "unknown_option"

    def __init__(self, option: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no option {option!r}; the options are {', '.join(known)}")
        self.option = option
        self.known = tuple(known)


class BadOptionError(OptionError):
    """An option of a query has a value it cannot have.

    Args:
        option: Its name.
        message: What is wrong with the value.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option


class UploadFieldError(OptionError):
    """The form does not hold exactly one file in the field `video` or `image`."""

    code: ClassVar[str] = "bad_upload_field"


class NotReadyError(BusyError):
    """The bundle is still being loaded."""

    code: ClassVar[str] = "not_ready"


class UploadTimeoutError(PartstreamError):
    """The client stopped sending before the end of its upload."""

    code: ClassVar[str] = "upload_timeout"


class StorageFullError(PartstreamError):
    """There is no room left for an upload or a result."""

    code: ClassVar[str] = "storage_full"


@dataclass(frozen=True, slots=True)
class ErrorCodes:
    """HTTP status and gRPC code of an error."""

    http: int
    grpc: str
    """A name of `grpc.StatusCode`."""
    title: str
    """The kind of problem in a few words, the same each time it occurs."""


ERROR_TABLE: Final[dict[str, ErrorCodes]] = {
    "internal_error": ErrorCodes(500, "INTERNAL", "Internal error"),
    "bad_media": ErrorCodes(422, "INVALID_ARGUMENT", "The media cannot be parsed"),
    "not_a_video": ErrorCodes(422, "INVALID_ARGUMENT", "Not a video or image"),
    "empty_upload": ErrorCodes(422, "INVALID_ARGUMENT", "Nothing was sent"),
    "no_video_stream": ErrorCodes(422, "INVALID_ARGUMENT", "No video in the file"),
    "no_such_stream": ErrorCodes(422, "INVALID_ARGUMENT", "No such video stream"),
    "no_frames": ErrorCodes(422, "INVALID_ARGUMENT", "No frame can be decoded"),
    "truncated": ErrorCodes(422, "INVALID_ARGUMENT", "The file is cut short"),
    "frame_too_large": ErrorCodes(422, "OUT_OF_RANGE", "The frame is too large"),
    "too_long": ErrorCodes(422, "OUT_OF_RANGE", "The video is too long"),
    "upload_too_large": ErrorCodes(413, "RESOURCE_EXHAUSTED", "The upload is too large"),
    "malformed_upload": ErrorCodes(400, "INVALID_ARGUMENT", "The upload is malformed"),
    "bad_option": ErrorCodes(422, "INVALID_ARGUMENT", "An option has a wrong value"),
    "unknown_option": ErrorCodes(422, "INVALID_ARGUMENT", "Unknown option"),
    "bad_upload_field": ErrorCodes(422, "INVALID_ARGUMENT", "The form does not hold one file"),
    "unsupported_media_type": ErrorCodes(415, "INVALID_ARGUMENT", "The content type is not read here"),
    "not_acceptable": ErrorCodes(406, "INVALID_ARGUMENT", "The result is not available in that form"),
    "upload_timeout": ErrorCodes(408, "DEADLINE_EXCEEDED", "The upload stalled"),
    "busy": ErrorCodes(503, "RESOURCE_EXHAUSTED", "Too many requests at once"),
    "not_ready": ErrorCodes(503, "UNAVAILABLE", "The service is starting"),
    "storage_full": ErrorCodes(507, "RESOURCE_EXHAUSTED", "No room for the upload"),
    "engine_failed": ErrorCodes(500, "INTERNAL", "The engine failed"),
    "bad_bundle": ErrorCodes(500, "FAILED_PRECONDITION", "The bundle is damaged"),
    "key_missing": ErrorCodes(401, "UNAUTHENTICATED", "An API key is needed"),
    "key_wrong": ErrorCodes(401, "UNAUTHENTICATED", "The API key is wrong"),
    "foreign_origin": ErrorCodes(403, "PERMISSION_DENIED", "Another site asks"),
    "foreign_host": ErrorCodes(421, "PERMISSION_DENIED", "The host has another name"),
    "source_forbidden": ErrorCodes(403, "PERMISSION_DENIED", "The source may not be pulled"),
    "source_failed": ErrorCodes(502, "UNAVAILABLE", "The source cannot be read"),
    "job_unfinished": ErrorCodes(409, "FAILED_PRECONDITION", "The job has no results"),
    "idempotency_conflict": ErrorCodes(409, "ALREADY_EXISTS", "The Idempotency-Key was used otherwise"),
    "bundle_changed": ErrorCodes(409, "FAILED_PRECONDITION", "The server runs another bundle"),
    "disk_quota_exceeded": ErrorCodes(507, "RESOURCE_EXHAUSTED", "The jobs take all their room"),
    "jobs_unavailable": ErrorCodes(503, "UNAVAILABLE", "Jobs cannot be kept"),
    "rate_limited": ErrorCodes(429, "RESOURCE_EXHAUSTED", "Too many requests in a short time"),
    "quota_exceeded": ErrorCodes(429, "RESOURCE_EXHAUSTED", "The day's frames are used up"),
    "going_away": ErrorCodes(503, "UNAVAILABLE", "The server is about to stop"),
    "unknown_bundle": ErrorCodes(404, "NOT_FOUND", "The bundle is not run here"),
    "config_missing": ErrorCodes(422, "INVALID_ARGUMENT", "The config must come first"),
    "second_config": ErrorCodes(422, "INVALID_ARGUMENT", "There is one config"),
    "bad_resume_token": ErrorCodes(422, "INVALID_ARGUMENT", "The resume token is not ours"),
    "resume_token_expired": ErrorCodes(422, "FAILED_PRECONDITION", "The resume token is too old"),
    "resume_token_foreign": ErrorCodes(422, "FAILED_PRECONDITION", "The resume token is of another bundle"),
    "frame_size_changed": ErrorCodes(422, "INVALID_ARGUMENT", "The frame has another size"),
    "bad_index": ErrorCodes(422, "INVALID_ARGUMENT", "The frame's number did not grow"),
    "time_went_back": ErrorCodes(422, "INVALID_ARGUMENT", "The frame's time went back"),
    "idle_timeout": ErrorCodes(408, "DEADLINE_EXCEEDED", "Nothing came for too long"),
    "slow_reader": ErrorCodes(408, "DEADLINE_EXCEEDED", "Nothing was read for too long"),
    "not_found": ErrorCodes(404, "NOT_FOUND", "There is nothing at this address"),
    "method_not_allowed": ErrorCodes(405, "UNIMPLEMENTED", "The method is not allowed here"),
    "bad_request": ErrorCodes(400, "INVALID_ARGUMENT", "The request is malformed"),
}
"""A row for each stable code. Codes that no PartstreamError carries come from the framework's own errors."""


def codes_for(code: str) -> ErrorCodes:
    """The statuses of a code.

    Raises:
        KeyError: The table has no such row.
    """
    return ERROR_TABLE[code]


def as_partstream_error(error: BaseException) -> PartstreamError | None:
    """The error as one that may be shown, or None where it has to stay inside."""
    if isinstance(error, PartstreamError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError("there is no room left for this upload or its result")
    return None
