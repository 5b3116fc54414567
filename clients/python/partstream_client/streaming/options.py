"""Options of a live stream."""

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from partstream_client.streaming.images import Encoding, Picture
from partstream_client.streaming.ledger import Policy

Masks: TypeAlias = Literal["rle", "polygons", "none"]
FlowName: TypeAlias = Literal["network", "dis", "codec", "none"]
AssemblyName: TypeAlias = Literal["greedy", "crf"]
ScheduleName: TypeAlias = Literal["every-frame", "causal", "paper", "adaptive"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOptions:
    """How a live stream is parsed, and how it is kept up."""

    bundle: str = ""
    """Name of the bundle; empty takes the one that the server runs."""
    policy: Policy | Literal["latest", "block"] = Policy.LATEST
    """Policy for frames that arrive faster than they are parsed."""
    max_age_ms: float | None = None
    """Frames older than this are skipped; None sets no bound."""
    max_in_flight: int | None = None
    """Frames on their way at once; None leaves it to the server."""
    score_threshold: float | None = None
    """People below this score are left out, [0, 1]; None takes the server's default."""
    every: int = 1
    """Parse only frames whose index is a multiple of this; the others are skipped."""
    masks: Masks = "rle"
    """The form of masks."""
    joints: bool = True
    """Whether people have joints, where the bundle finds them."""
    schedule: Literal["every-frame", "causal", "adaptive"] | None = None
    """Which frames are key frames; None takes the bundle's. `paper` waits for later frames."""
    interval: int | None = None
    """A key frame at least every so many frames; None takes the bundle's."""
    flow: FlowName | None = None
    """Source of the flow from a frame to its key frame; None takes the bundle's."""
    encodes: bool | None = None
    """Whether key frames are encoded with former ones; None takes the bundle's."""
    assembly: AssemblyName | None = None
    """Rule by which pixels get people; None takes the bundle's."""
    frame_rate: float | None = None
    """Gives frames without a time of their own one, by their number; None takes the time they come in."""
    encoding: Encoding | Literal["jpeg", "raw", "png"] = Encoding.JPEG
    """How arrays travel."""
    jpeg_quality: int = 90
    open_timeout_s: float = 10.0
    """Longest wait for a server to open the stream."""
    answer_timeout_s: float = 30.0
    """Longest silence while frames are in flight; a connection that is silent for longer counts as lost."""
    give_up_s: float = 60.0
    """How long to try to resume after a lost connection."""

    def __post_init__(self) -> None:
        Policy(self.policy)
        Encoding(self.encoding)
        self._check_names()
        check_interval(self.interval)
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold must be in [0, 1], got {self.score_threshold}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if not 1 <= self.jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must be in 1..95, got {self.jpeg_quality}")
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, got {self.max_in_flight}")
        for name in ("max_age_ms", "frame_rate", "open_timeout_s", "answer_timeout_s", "give_up_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def _check_names(self) -> None:
        if self.masks not in {"rle", "polygons", "none"}:
            raise ValueError(f"masks must be rle, polygons or none, got {self.masks!r}")
        if self.schedule not in {None, "every-frame", "causal", "adaptive"}:
            raise ValueError(f"schedule must be every-frame, causal or adaptive, got {self.schedule!r}")
        if self.flow not in {None, *get_args(FlowName)}:
            raise ValueError(f"flow must be one of {', '.join(get_args(FlowName))}, got {self.flow!r}")
        if self.assembly not in {None, *get_args(AssemblyName)}:
            raise ValueError(f"assembly must be greedy or crf, got {self.assembly!r}")


def check_interval(interval: int | None) -> None:
    """Refuse an interval that no segment can have.

    Raises:
        ValueError: It is less than one.
    """
    if interval is not None and interval < 1:
        raise ValueError(f"interval must be at least 1, got {interval}")


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame with its time."""

    image: Picture
    """RGB, uint8 [H, W, 3]; or a ready JPEG, PNG or WebP."""
    time_s: float
    """When it was taken; never before the frame that came before."""


Frames: TypeAlias = Iterable[Picture | TimedFrame] | AsyncIterable[Picture | TimedFrame]
"""A source of frames."""
