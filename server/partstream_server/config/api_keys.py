"""API keys of the settings: how they are written down, and whether one is right.

A key is `name:secret`, or the secret alone; the name stands in logs, the secret nowhere.
Only digests are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MIN_KEY_LENGTH: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    digest: bytes


class KeyRing:
    """The keys that are right; an empty ring asks for none."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Take keys.

        Raises:
            ValueError: One is too short, has a bad name, or shares its name or secret with another.
        """
        self._keys = tuple(_read(text, number) for number, text in enumerate(keys, start=1))
        for kind, found in (
            ("the name", [key.name for key in self._keys]),
            ("its key", [key.digest for key in self._keys]),
        ):
            if len(set(found)) < len(found):
                raise ValueError(f"two API keys share {kind}")

    @classmethod
    def load(cls, listed: str, file: Path | None) -> Self:
        """The keys of a list that is separated by commas, and of the lines of a file; # begins a comment.

        Raises:
            ValueError: A key cannot be one.
            OSError: The file cannot be read.
        """
        keys = [text.strip() for text in listed.split(",")]
        if file is not None:
            keys += [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
        return cls(key for key in keys if key)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keys' owners."""
        return tuple(key.name for key in self._keys)

    def name_of(self, presented: str) -> str | None:
        """The name of a key's holder; None where it is none of the keys.

        Every key is compared, and in full, so that the time taken tells nothing.
        """
        digest = _digest(presented)
        matches = [key.name for key in self._keys if hmac.compare_digest(key.digest, digest)]
        return matches[0] if matches else None


def _read(text: str, number: int) -> _Key:
    name, colon, secret = text.partition(":")
    if not colon:
        name, secret = f"key-{number}", text
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name of API key {number} must be letters, digits, dots, dashes and underscores"
        )
    if len(secret) < MIN_KEY_LENGTH or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError(
            f"API key {number} ({name}) must be at least {MIN_KEY_LENGTH} printable characters without spaces"
        )
    return _Key(name, _digest(secret))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
