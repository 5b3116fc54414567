"""Answers HEAD with the headers of GET, for monitors and proxies."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

PATHS: Final = frozenset({"/", "/livez", "/readyz", "/metrics"})


class Heads:
    """ASGI middleware: HEAD of some paths is answered as GET; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] in PATHS:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
