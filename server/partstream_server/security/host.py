"""Whether a request names this service in its Host header.

A page of another site whose name was rebound to this machine's address (DNS rebinding) is of the same origin
as the service for its browser. It cannot change the Host header, which holds that name.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from partstream_server.config.settings import Settings, is_loopback
from partstream_server.security.errors import HostError


@dataclass(frozen=True, slots=True)
class HostRule:
    """The names that the Host header may hold, besides addresses and localhost, which cannot be rebound."""

    names: tuple[str, ...] = ()
    """Patterns such as `*.example.com`."""
    any_name: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rule that settings describe."""
        names = tuple(name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip())
        return cls(names, any_name=not names and not is_loopback(settings.host))

    def check(self, host: str | None) -> None:
        """Refuse a name that is not this service's.

        Args:
            host: The header, with or without a port; None where it was not sent, which is no browser.

        Raises:
            HostError: The name is not allowed.
        """
        if host is None or self.any_name:
            return
        name = _name_of(host)
        if _is_local(name) or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.names):
            return
        raise HostError(
            f"this service is not {name or host!r}; PARTSTREAM_ALLOWED_HOSTS would allow the name"
        )


def _name_of(host: str) -> str:
    """The host of a header without its port; empty where there is none."""
    try:
        parts = urlsplit(f"//{host}")
        found = parts.hostname or ""
    except ValueError:
        return ""
    return "" if "@" in parts.netloc or parts.netloc != host else found.rstrip(".").lower()


def _is_local(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True
