"""Allow-list of source URLs, and resolution of host names to checked addresses.

A name is resolved once, here, and the connection goes to an address that was checked: whoever answers for the
name cannot send the server elsewhere between the check and the connection.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from partstream_core.errors import OptionError
from partstream_server.sources.errors import SourceFailedError, SourceForbiddenError

PORTS: Final = {"rtsp": 554, "http": 80, "https": 443}
CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 20.0
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_TRANSLATED: Final = tuple(
    ipaddress.ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""IPv6 addresses that stand for IPv4 ones: what lies behind them cannot be told."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Allow-list of source URLs."""

    hosts: tuple[str, ...] = ()
    """Patterns of host names and addresses, such as `*.example.com`; none: no host at all."""
    private: bool = False
    """Whether addresses of private networks and of this machine may be reached."""
    folder: Path | None = None
    """Folder of files that may be read; None allows none."""


def check_url(url: str, rules: Rules) -> SplitResult:
    """The parts of a URL, once its scheme and host are allowed.

    Raises:
        OptionError: It is no URL of a source.
        SourceForbiddenError: It may not be pulled.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError(f"url: {error}") from None
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise OptionError("url: it must hold no spaces and no control characters")
    if parts.scheme == "file":
        file_of(parts, rules)
        return parts
    if parts.scheme not in PORTS:
        raise OptionError(f"url: rtsp:, http:, https: and file: are pulled, not {parts.scheme or url!r}")
    if not parts.hostname or port == 0:
        raise OptionError("url: it names no host")
    if not host_is_allowed(parts.hostname, rules):
        raise SourceForbiddenError(
            f"{parts.hostname} is not among the hosts that PARTSTREAM_SOURCE_HOSTS allows"
        )
    return parts


def host_is_allowed(host: str, rules: Rules) -> bool:
    """Whether a pattern of the rules fits a host name or address."""
    host = host.rstrip(".").lower()
    return any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in rules.hosts)


def file_of(parts: SplitResult, rules: Rules) -> Path:
    """The file of a file URL, links followed.

    Raises:
        OptionError: It names another machine.
        SourceForbiddenError: It lies outside of the folder, or there is none.
    """
    if parts.netloc not in ("", "localhost"):
        raise OptionError(f"url: a file is of this machine, not of {parts.netloc}")
    if rules.folder is None:
        raise SourceForbiddenError("files are not pulled here; PARTSTREAM_SOURCE_FOLDER would say from where")
    try:
        path = Path(unquote(parts.path)).resolve()
    except (ValueError, OSError) as error:
        raise OptionError(f"url: {error}") from None
    if not path.is_relative_to(rules.folder.resolve()):
        raise SourceForbiddenError("the file lies outside of the folder that PARTSTREAM_SOURCE_FOLDER names")
    return path


def connect(host: str, port: int, rules: Rules) -> socket.socket:
    """A connection to an address that may be reached.

    Raises:
        SourceForbiddenError: The name stands for an address that may not.
        SourceFailedError: Nobody answers there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceFailedError(f"{host} cannot be found: {error}") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if not rules.private and not is_public(address):
            raise SourceForbiddenError(
                f"{host} is {address}, which is private; PARTSTREAM_SOURCE_PRIVATE=1 allows that"
            )
    problem: OSError | None = None
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S)
        except OSError as error:
            problem = error
        else:
            connection.settimeout(READ_TIMEOUT_S)
            return connection
    raise SourceFailedError(f"{host} does not answer at port {port}: {problem}")


def is_public(address: str) -> bool:
    """Whether an address is one of the whole Internet."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in network for network in _TRANSLATED):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=f"...@{parts.netloc.rpartition('@')[2]}").geturl()
