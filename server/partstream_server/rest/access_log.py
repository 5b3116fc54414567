"""Counts, times and logs every request, and answers those that fail unexpectedly."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from partstream_server.rest.problems import CLIENT_GONE, problem_response
from partstream_server.service.metrics import Metrics
from partstream_server.service.tracing import Tracing

REQUEST_ID_HEADER: Final = b"x-request-id"
_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_log = logging.getLogger("partstream.api")


class Observer:
    """ASGI middleware: each request gets an id, an answer whatever happens, and a line in the log."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app = app
        self._tracing = tracing
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and see to its end."""
        if scope["type"] == "websocket":
            await self._watch_socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:  # the last place to catch one
            if exchange.status:
                _log.exception("response broken off", extra={"fields": {"request": exchange.request_id}})
                return
            request = Request(scope, receive)
            await problem_response(error, request)(scope, receive, exchange.send)
        finally:
            self._record(exchange)

    async def _watch_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a WebSocket on; its frames are counted and its end is logged where it is a stream."""
        started = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            if self._tracing is not None:
                route, seconds = _route_of(scope), time.perf_counter() - started
                fields = {"path": scope["path"]}
                self._tracing.record(f"WEBSOCKET {route}", seconds, fields, scope["headers"])

    def _record(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        route, method, status = exchange.route, exchange.scope["method"], exchange.status or CLIENT_GONE
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        fields = {"method": method, "path": exchange.scope["path"], "status": status, "seconds": seconds}
        if code := exchange.scope["state"].get("problem_code"):
            self._metrics.problems.labels(code).inc()
            fields["code"] = code
        fields["request"] = exchange.request_id
        if self._tracing is not None:
            self._tracing.record(f"{method} {route}", seconds, fields, exchange.scope["headers"])
        level = logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO
        _log.log(level, "request", extra={"fields": fields})


class _Exchange:
    """One request and what was answered so far."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.started = time.perf_counter()
        self.request_id = secrets.token_hex(8)
        self.status = 0
        self._send = send
        scope["state"] = {**scope.get("state", {}), "request_id": self.request_id}

    @property
    def route(self) -> str:
        """The route's template, so that made-up paths are one label."""
        return _route_of(self.scope)

    async def send(self, message: Message) -> None:
        """Pass a message on, and note the status."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (REQUEST_ID_HEADER, self.request_id.encode())]
            message = {**message, "headers": headers}
        await self._send(message)


def _route_of(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "unknown"))
