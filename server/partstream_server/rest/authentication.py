"""Authenticates HTTP requests before anything of their body is read."""

from __future__ import annotations

from typing import Final, cast

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from partstream_server.rest.problems import problem_response
from partstream_server.security.access import Access, Account
from partstream_server.security.errors import AccessError, HostError
from partstream_server.security.host import HostRule

OPEN_PATHS: Final = frozenset({"/", "/livez", "/readyz", "/docs", "/openapi.json"})
"""What anyone may read: whether the service is up, and how it is used."""
OPEN_FOLDER: Final = "/page/"
"""The files of the page, which tell nothing either."""


class Guard:
    """ASGI middleware: admits requests that name this host and show a valid key, at the key's rate.

    Of WebSockets only the host is checked: a browser cannot send a key with them, so their endpoint reads it
    from the config.
    """

    def __init__(self, app: ASGIApp, *, access: Access, hosts: HostRule) -> None:
        self._app = app
        self._access, self._hosts = access, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._hosts.check(HTTPConnection(scope).headers.get("host"))
            except HostError as error:
                await _refuse(error, scope, receive, send)
                return
        if scope["type"] == "http" and not _is_open(scope["path"]):
            request = Request(scope, receive)
            try:
                account = self._access.admit(request.headers.items())
            except AccessError as error:
                await problem_response(error, request)(scope, receive, send)
                return
            scope["state"]["account"] = account
        await self._app(scope, receive, send)


async def _refuse(error: HostError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.send_denial_response(problem_response(error, socket))
    else:
        request = Request(scope, receive)
        await problem_response(error, request)(scope, receive, send)


def account_of(request: Request) -> Account:
    """The account of whoever sent a request that passed the door."""
    return cast(Account, request.state.account)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
