"""API keys of callers: how they are shown, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from partstream_server.config.api_keys import KeyRing
from partstream_server.security.errors import KeyMissingError, KeyWrongError

AUTHORIZATION: Final = "authorization"
KEY_HEADER: Final = "x-api-key"


def holder(keys: KeyRing, presented: str | None) -> str:
    """The name of a key's holder.

    Raises:
        KeyMissingError: Nothing was presented.
        KeyWrongError: It is none of the keys.
    """
    if not presented:
        raise KeyMissingError(
            "this service asks for an API key: send it as Authorization: Bearer KEY, or as X-API-Key: KEY"
        )
    name = keys.name_of(presented)
    if name is None:
        raise KeyWrongError("the API key is not one of this service's")
    return name


def presented_key(headers: Iterable[tuple[str | bytes, str | bytes]]) -> str | None:
    """The key among HTTP headers or gRPC metadata, or None.

    Args:
        headers: Names of any case with their values.
    """
    found: str | None = None
    for raw_name, raw_value in headers:
        name, value = _text(raw_name).lower(), _text(raw_value).strip()
        if name == KEY_HEADER and value:
            return value
        scheme, _, rest = value.partition(" ")
        if name == AUTHORIZATION and scheme.lower() == "bearer" and rest.strip():
            found = rest.strip()
    return found


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
