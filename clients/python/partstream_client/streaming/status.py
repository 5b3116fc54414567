"""Maps a failed gRPC call to the client's errors, the same that the REST half raises."""

import grpc

from partstream_client.errors import (
    ClientError,
    ConnectionFailedError,
    UnavailableError,
    UnreachableError,
    problem_from_json,
)

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.DEADLINE_EXCEEDED: 408,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_BROKEN = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
"""gRPC statuses of a broken connection. The service's own errors carry a code."""
_SENT_TOO_LATE = "Internal error from Core"
"""gRPC's message if a write follows the end of the call and precedes the reading of its status."""
_TOO_LARGE = 413


def error_of(error: grpc.aio.AioRpcError, address: str, *, opened: bool) -> ClientError:
    """The error that a status stands for.

    Args:
        error: The failed call.
        address: Whom it went to.
        opened: Whether the server had answered before.
    """
    trailers = dict(error.trailing_metadata() or ())
    code, status, detail = _text(trailers.get("partstream-code")), error.code(), error.details() or ""
    if detail == _SENT_TOO_LATE:
        detail = "the connection ended while a frame was sent"
    if not code and status in _BROKEN:
        if opened:
            return ConnectionFailedError(f"the stream from {address} broke off: {detail or status.name}")
        return UnreachableError(f"no server of streams at {address}: {detail or status.name}")
    http = _HTTP.get(status, 500)
    if not code and status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        http = _TOO_LARGE  # gRPC's own refusal of a message
    problem = problem_from_json(
        {"code": code, "title": status.name.replace("_", " ").lower(), "detail": detail}, status=http
    )
    wait = _text(trailers.get("retry-after-ms"))
    if isinstance(problem, UnavailableError) and wait.isdecimal():
        problem.retry_after_s = int(wait) / 1000
    return problem


def _text(value: str | bytes | None) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value or ""
