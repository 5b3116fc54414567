"""Progress of a request: bytes sent and frames received."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a request."""

    stage: Literal["upload", "frames"]
    """Bytes on their way to the server, or frames that came back from it."""
    done: int
    total: int | None
    """None where nobody knows it beforehand."""


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called often and from the client's own thread: it should be quick. What it raises ends the request."""
