"""Whether a browser asks for this service's own page, or for somebody else's.

Browsers let any site open a WebSocket to 127.0.0.1 and name the site in Origin; other clients send none.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from partstream_server.security.errors import OriginError


def check_origin(origin: str | None, host: str | None, *, allowed: Iterable[str] = ()) -> None:
    """Refuse what comes from a page of another origin.

    Args:
        origin: The header Origin; None where it was not sent, which is no browser.
        host: The header Host.
        allowed: Origins that are let in beside the service's own.

    Raises:
        OriginError: The page is another site's.
    """
    if origin is None or origin.rstrip("/") in {one.rstrip("/") for one in allowed}:
        return
    if host is None or urlsplit(origin).netloc.lower() != host.lower():
        raise OriginError(f"pages of {origin} may not use this service")
