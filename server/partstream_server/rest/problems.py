"""Problem documents (RFC 9457): every error leaves as application/problem+json with a stable code."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from partstream_core.errors import BusyError, OptionError, PartstreamError
from partstream_server.security.errors import KeyMissingError, KeyWrongError, ThrottledError
from partstream_server.service.errors import (
    BadOptionError,
    UnknownOptionError,
    as_partstream_error,
    codes_for,
)

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
CLIENT_GONE: Final = 499
"""Logged for a client that left before its answer; nobody receives it."""

_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_log = logging.getLogger("partstream.api")


def problem_document(error: Exception, *, instance: str | None = None) -> dict[str, Any]:
    """The problem document of any error; of one that is not ours it tells nothing but that it happened."""
    known = as_partstream_error(error)
    code = known.code if known else "internal_error"
    detail = str(known) if known else "something went wrong inside the service; its log holds the details"
    return _document(code, detail, instance=instance, extra=_extra(known))


def _document(
    code: str, detail: str, *, instance: str | None, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    codes = codes_for(code)
    document: dict[str, Any] = {
        "type": f"urn:partstream:problem:{code}",
        "title": codes.title,
        "status": codes.http,
        "code": code,
        "detail": detail,
    }
    if instance is not None:
        document["instance"] = instance
    return document | dict(extra or {})


def _extra(error: PartstreamError | None) -> dict[str, Any]:
    if isinstance(error, UnknownOptionError):
        return {"option": error.option, "known_options": list(error.known)}
    if isinstance(error, BadOptionError):
        return {"option": error.option}
    return {}


def problem_response(error: Exception, request: HTTPConnection) -> Response:
    """The answer to a request that failed."""
    document = problem_document(error, instance=request.url.path)
    if document["status"] >= 500 and not isinstance(error, BusyError):
        _log.error("request failed", exc_info=error, extra={"fields": {"path": request.url.path}})
    return _respond(request, document, _headers(error))


def _headers(error: Exception) -> dict[str, str]:
    """What a client is told beside the document: when to come again, and how to show a key."""
    if isinstance(error, ThrottledError):
        return {"Retry-After": str(math.ceil(error.retry_after_s))}
    if isinstance(error, KeyMissingError | KeyWrongError):
        return {"WWW-Authenticate": 'Bearer realm="partstream"'}
    return {}


def _respond(
    request: HTTPConnection, document: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    request.state.problem_code = document["code"]
    if request_id := getattr(request.state, "request_id", None):
        document = {**document, "request_id": request_id}
    sent = dict(headers or {})
    if document["status"] == codes_for("busy").http:
        sent["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(document, document["status"], sent, media_type=PROBLEM_TYPE)


def first_option_error(errors: Sequence[Any], known: tuple[str, ...]) -> OptionError:
    """The first of pydantic's complaints about options as an error that names the option."""
    item = errors[0]
    option = ".".join(map(str, item["loc"][-1:])) or "body"
    if item["type"] == "extra_forbidden":
        return UnknownOptionError(option, known)
    return BadOptionError(option, f"{item['msg'][0].lower()}{item['msg'][1:]}, got {item.get('input')!r}")


def add_problem_handlers(app: FastAPI, known_options: tuple[str, ...]) -> None:
    """Make every expected error of the app a problem document; the middleware sees to the unexpected ones."""

    async def on_ours(request: Request, error: Exception) -> Response:
        return problem_response(error, request)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(first_option_error(error.errors(), known_options), request)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        other = "bad_request" if error.status_code < 500 else "internal_error"
        code = _HTTP_CODES.get(error.status_code, other)
        document = _document(code, _http_detail(code, request, error), instance=request.url.path)
        return _respond(request, document | {"status": error.status_code}, error.headers)

    async def on_gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(PartstreamError, on_ours)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientDisconnect, on_gone)


def _http_detail(code: str, request: Request, error: HTTPException) -> str:
    match code:
        case "not_found":
            return f"there is nothing at {request.url.path}"
        case "method_not_allowed":
            allowed = (error.headers or {}).get("Allow", "other methods")
            return f"{request.url.path} answers {allowed}, not {request.method}"
        case _:
            return str(error.detail)
