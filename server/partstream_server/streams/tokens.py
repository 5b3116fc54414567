"""Resume tokens: a session's snapshot, signed, with a date, for one bundle.

    magic 4 | issued at f64 | last index u64 | last time s f64 | bundle 16 | n u16 | schedule n | tracker
    | HMAC-SHA256

The schedule is JSON, or nothing.

Servers that share a secret take each other's tokens. A token can be read by its holder (it says what the
people of their own stream look like to the network) but not changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from typing import Final

from partstream_core.manifest import Manifest
from partstream_server.pipeline.session import Session, SessionSnapshot
from partstream_server.streams.errors import ForeignTokenError, ResumeTokenError, TokenExpiredError

MAX_TOKEN_BYTES: Final = 32_000
_MAGIC: Final = b"PST3"
_HEADER: Final = struct.Struct("<4sdQd16sH")
_SIGNATURE_BYTES: Final = 32
_MAX_SCHEDULE_BYTES: Final = 1000
_CLOCK_SKEW_S: Final = 60.0
"""How far the clocks of servers that share a secret may be apart."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Position and state from which a stream resumes."""

    snapshot: SessionSnapshot
    paused_ms: float


class TokenMaker:
    """Makes tokens of one bundle and reads them."""

    def __init__(self, secret: bytes, manifest: Manifest, *, lifetime_s: float) -> None:
        self._key = hashlib.sha256(b"partstream resume token\0" + secret).digest()
        self._bundle = fingerprint(manifest)
        self.lifetime_s = lifetime_s

    def make(self, session: Session, now_s: float) -> bytes:
        """A token of a session; empty before its first frame.

        Args:
            session: Not running at the moment.
            now_s: Seconds since 1970.
        """
        room = MAX_TOKEN_BYTES - _HEADER.size - _SIGNATURE_BYTES - _MAX_SCHEDULE_BYTES
        snapshot = session.snapshot(max_bytes=room)
        if snapshot is None:
            return b""
        schedule = b"" if snapshot.schedule is None else json.dumps(snapshot.schedule).encode()
        if len(schedule) > _MAX_SCHEDULE_BYTES:
            schedule = b""  # a stream goes on without its budget rather than not at all
        header = _HEADER.pack(
            _MAGIC, now_s, snapshot.last_index, snapshot.last_time_s, self._bundle, len(schedule)
        )
        return self._signed(header + schedule + snapshot.tracker)

    def read(self, token: bytes, now_s: float) -> Resumption:
        """The resume point in a token.

        Raises:
            ResumeTokenError: It was not made with this secret, is too old, or is of another bundle.
        """
        body, signature = token[:-_SIGNATURE_BYTES], token[-_SIGNATURE_BYTES:]
        right = len(body) >= _HEADER.size and hmac.compare_digest(self._sign(body), signature)
        if not right:
            raise ResumeTokenError(
                "the resume token was not made by this server or one that shares its secret; begin anew"
            )
        magic, issued_s, last_index, last_time_s, bundle, num_bytes = _HEADER.unpack_from(body)
        if magic != _MAGIC:
            raise ResumeTokenError("the resume token is of another version; begin anew")
        age_s = now_s - issued_s
        if not -_CLOCK_SKEW_S <= age_s <= self.lifetime_s:
            raise TokenExpiredError(
                f"the resume token is {age_s:.0f} s old; it was good for {self.lifetime_s:g} s; begin anew"
            )
        if bundle != self._bundle:
            raise ForeignTokenError("the resume token is of another bundle; begin anew")
        tracker_at = _HEADER.size + num_bytes
        schedule = json.loads(body[_HEADER.size : tracker_at]) if num_bytes else None
        snapshot = SessionSnapshot(body[tracker_at:], last_index, last_time_s, schedule)
        return Resumption(snapshot, max(0.0, age_s * 1000))

    def _signed(self, body: bytes) -> bytes:
        return body + self._sign(body)

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def fingerprint(manifest: Manifest) -> bytes:
    """16 bytes that differ between bundles whose embeddings cannot be compared."""
    graphs = {name: graph.sha256 for name, graph in sorted(manifest.graphs.items())}
    return hashlib.sha256(json.dumps(graphs).encode()).digest()[:16]
