"""Errors of the client.

ClientError
├── ConnectionFailedError     nobody answered in time, or the answer broke off
│   ├── UnreachableError      nothing listens there
│   └── DeadlineError         the caller's own deadline passed
├── SourceError               the media to send could not be fetched
├── AnswerError               the answer is not what the service documents
└── ProblemError              the server said what is wrong, with a stable `code`
    ├── RejectedError         this request will not work as it is (4xx)
    │   └── AuthError         the key is missing, wrong, or not good for this (401, 403)
    ├── UnavailableError      the server has no room now; a later try may work (429, 503)
    └── ServerFailedError     the server's own fault (5xx)

MissingExtraError (ImportError)   something optional is not installed

A status of gRPC is read as the HTTP status that means the same, so that both wires raise the same errors.
"""

import json
from collections.abc import Mapping

UNKNOWN_CODE = "unknown"


class ClientError(Exception):
    """A request did not bring what was asked for."""


class MissingExtraError(ImportError):
    """Something optional is not installed.

    Args:
        extra: Name of the extra that brings it.
    """

    def __init__(self, extra: str) -> None:
        super().__init__(f"this needs {extra}: pip install 'partstream-client[{extra}]'")
        self.extra = extra


class ConnectionFailedError(ClientError):
    """Nobody answered in time, or the connection broke."""


class UnreachableError(ConnectionFailedError):
    """Nothing listens at the server's address."""


class DeadlineError(ConnectionFailedError):
    """The deadline that the caller set has passed."""


class SourceError(ClientError):
    """The media to send could not be fetched."""


class AnswerError(ClientError):
    """The answer is not what the service documents."""


class ProblemError(ClientError):
    """The server's problem document (RFC 9457).

    Args:
        code: Stable machine code, such as ``not_a_video``; ``unknown`` where the answer had none.
        status: HTTP status, or the one that means the same as gRPC's.
        title: What is wrong, in general.
        detail: What is wrong this time; may be empty.
    """

    def __init__(self, code: str, status: int, title: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail or title} (status {status})")
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail

    def __reduce__(self) -> tuple[type["ProblemError"], tuple[str, int, str, str]]:
        """Keep every argument when the error travels between processes."""
        return type(self), (self.code, self.status, self.title, self.detail)


class RejectedError(ProblemError):
    """This request will not work as it is."""


class AuthError(RejectedError):
    """The API key is missing, wrong, or not good for this."""


class UnavailableError(ProblemError):
    """The server has no room now; a later try may work."""

    retry_after_s: float = 0.0
    """Seconds that the server asks to wait; 0 where it does not say."""


class ServerFailedError(ProblemError):
    """The server could not do what it should have done."""


def problem_from_answer(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """The error that an answer stands for, also where its body is no problem document."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    problem = problem_from_json(value, status=status)
    wait = headers.get("Retry-After", "")
    if isinstance(problem, UnavailableError) and wait.isdecimal():
        problem.retry_after_s = float(wait)
    return problem


def problem_from_json(value: object, *, status: int) -> ProblemError:
    """The error of a problem document; fields that are missing or of the wrong type get plain words.

    Args:
        value: The document as JSON gave it.
        status: HTTP status where the document names none.
    """
    document = value if isinstance(value, dict) else {}
    stated = document.get("status")
    if isinstance(stated, int) and not isinstance(stated, bool):
        status = stated
    code, title, detail = (
        text if isinstance(text := document.get(name), str) else "" for name in ("code", "title", "detail")
    )
    return _class_of(status, code)(code or UNKNOWN_CODE, status, title or "the server refused", detail)


def _class_of(status: int, code: str) -> type[ProblemError]:
    if status in {429, 503} and code != "quota_exceeded":  # that one lasts for the day
        return UnavailableError
    if status in {401, 403}:
        return AuthError
    return ServerFailedError if status >= 500 else RejectedError
