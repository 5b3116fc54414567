"""Answers to frames of a live stream: a result, skipped, or failed."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from partstream_client.draw import Image
from partstream_client.frames import Frame
from partstream_client.people import Person
from partstream_client.streaming.images import Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerLatency:
    """Time that a frame spent in each stage of the server, in milliseconds."""

    total_ms: float
    """From the frame's arrival at the server to its answer, and the age it arrived with."""
    queue_ms: float
    """Of that, before its turn."""
    decode_ms: float
    infer_ms: float
    """Around the network: resizing, suppressing doubles."""
    network_ms: float
    assemble_ms: float
    track_ms: float
    encode_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency(ServerLatency):
    """Time that a frame spent in each stage, in milliseconds."""

    round_trip_ms: float
    """From the moment the client sent the frame to the moment its answer was here."""


@dataclass(frozen=True, kw_only=True)
class LiveFrame(Frame):
    """Result of one frame of a live stream."""

    image: Picture = field(repr=False)
    """The frame, as it was given."""
    latency: Latency
    epoch: int = 0
    """How often identities had to start anew before this frame; those of two epochs do not compare."""

    def drawn(self, *, opacity: float = 0.55) -> Image:
        """The frame with parts, outlines and identities on it, where it was given as an array.

        Raises:
            ValueError: It was given as bytes; decode them and use `draw`.
        """
        if not isinstance(self.image, np.ndarray):
            raise ValueError("the frame was given as bytes; decode it and give the array to draw()")
        return self.draw(self.image, opacity=opacity)


@dataclass(frozen=True, kw_only=True)
class SourceFrame(Frame):
    """Result of one frame of a source that the server pulls."""

    latency: ServerLatency
    num_missed: int = 0
    """Answers that never came because this subscriber read too slowly, so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A frame that was left out, so that others are not late."""

    index: int
    time_s: float
    reason: str
    """Such as ``replaced``, ``too_old`` or ``connection_lost``."""

    @property
    def people(self) -> tuple[Person, ...]:
        """Nobody: it was not looked at."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A frame that could not be parsed; the stream goes on."""

    index: int
    time_s: float
    code: str
    """Stable machine code of the error."""
    detail: str

    @property
    def people(self) -> tuple[Person, ...]:
        """Nobody: it could not be looked at."""
        return ()


Answer: TypeAlias = LiveFrame | Skipped | Failed
"""Answer for one frame."""

SourceAnswer: TypeAlias = SourceFrame | Skipped | Failed
"""Answer for one frame of a pulled source."""
