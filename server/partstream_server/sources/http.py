"""A file or an endless stream over HTTP, from addresses that were checked, redirects included."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import socket
import ssl
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin

from partstream_server.sources.address import PORTS, Rules, check_url, connect
from partstream_server.sources.errors import SourceFailedError

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class HttpBody(io.RawIOBase):
    """The body of an answer, for reading once; `cut` ends a read that another thread waits in."""

    def __init__(self, url: str, rules: Rules) -> None:
        """Ask for a URL.

        Raises:
            SourceForbiddenError: It, or where it redirects to, may not be reached.
            SourceFailedError: There is no answer, or one that is no success.
        """
        super().__init__()
        for _ in range(_MAX_REDIRECTS + 1):
            parts = check_url(url, rules)
            if parts.scheme not in ("http", "https"):
                raise SourceFailedError(f"the server redirects to {parts.scheme}:, which is not followed")
            self._ask(parts, rules)
            if self._answer.status not in _REDIRECTS:
                break
            url = urljoin(url, self._answer.getheader("Location", ""))
            self.cut()
        else:
            raise SourceFailedError(f"more than {_MAX_REDIRECTS} redirects")
        if self._answer.status != 200:
            status = self._answer.status
            self.cut()
            raise SourceFailedError(f"the server answered {status} {self._answer.reason}")

    def _ask(self, parts: SplitResult, rules: Rules) -> None:
        host = parts.hostname or ""
        port = parts.port or PORTS[parts.scheme]
        self._socket = connect(host, port, rules)
        try:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
            # The connection is made already; http.client writes and reads on it.
            self._connection = http.client.HTTPConnection(host, port)
            self._connection.sock = self._socket
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", target, headers=_headers(parts))
            self._answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._socket.close()
            raise SourceFailedError(f"{host}: {error}") from None

    @property
    def declared_bytes(self) -> int | None:
        """Length of the body as the server declares it."""
        return self._answer.length

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, as soon as there are some."""
        try:
            return self._answer.read1(size)
        except (OSError, http.client.HTTPException, ValueError):
            return b""

    def cut(self) -> None:
        """End the connection; safe from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close(self) -> None:
        """End the connection and release what was read ahead."""
        self.cut()
        self._answer.close()
        self._connection.close()
        super().close()


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"Accept": "*/*", "User-Agent": "partstream", "Connection": "close"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers
