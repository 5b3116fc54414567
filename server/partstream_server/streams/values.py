"""Values of a live stream: configuration, input frames and answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from partstream_core.assembly_config import AssemblyKind
from partstream_core.errors import MediaError, OptionError
from partstream_core.results import FrameResult, ModelInfo
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_server.media.frame import Image
from partstream_server.pipeline.encoding import MaskForm


class Policy(StrEnum):
    """Policy for frames that arrive faster than they are parsed."""

    LATEST = "latest"
    """The newest is parsed, and those that waited before it are skipped: for cameras."""
    BLOCK = "block"
    """None is skipped because of others: for files."""


class SkipReason(StrEnum):
    """Why a frame was not parsed."""

    REPLACED = "replaced"
    """A newer one came before its turn."""
    TOO_OLD = "too_old"
    """It was older than the stream's maximum age."""
    NOT_WANTED = "not_wanted"
    """`every` passes over it."""
    GOING_AWAY = "going_away"
    """It came after the server said that it is going away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Options of a stream."""

    bundle: str = ""
    """Empty takes the one that the server runs."""
    score_threshold: float | None = None
    """Least score of a person; None takes the bundle's."""
    every: int = 1
    """Parse only frames whose index is a multiple of this."""
    masks: MaskForm = MaskForm.RLE
    joints: bool = True
    """Whether results hold people's joints, where the bundle finds them."""
    schedule: ScheduleMode | None = None
    """Which frames are key frames; None leaves it to the bundle."""
    flow: FlowSource | None = None
    """Source of the flow from a frame to its key frame; None leaves it to the bundle."""
    encodes: bool | None = None
    """Whether key frames are encoded with former ones; None leaves it to the bundle."""
    assembly: AssemblyKind | None = None
    """Rule by which pixels get people; None leaves it to the bundle."""
    interval: int | None = None
    """A key frame at least every so many frames; None leaves it to the bundle."""
    policy: Policy = Policy.LATEST
    max_age_ms: float = 0.0
    """Frames older than this are skipped, and no result older than this is given out; 0 sets no limit."""
    credits: int = 0
    """Frames that may be in flight; 0 leaves it to the server, which may grant fewer."""
    resume_token: bytes = b""

    def __post_init__(self) -> None:
        score = self.score_threshold
        if score is not None and not 0 <= score <= 1:
            raise OptionError(f"score_threshold must be between 0 and 1, got {score}")
        if self.every < 1:
            raise OptionError(f"every must be at least 1, got {self.every}")
        if not self.max_age_ms >= 0:
            raise OptionError(f"max_age_ms must not be negative, got {self.max_age_ms}")
        if self.credits < 0:
            raise OptionError(f"credits must not be negative, got {self.credits}")


@dataclass(frozen=True, slots=True, eq=False)
class InputFrame:
    """One frame as a client sent it."""

    index: int
    """The client's number; it must grow, and may leave gaps for frames that were never sent."""
    time_s: float
    """Presentation time; it must not go back."""
    image: bytes | Image | MediaError
    """A JPEG, PNG or WebP; or upright RGB, uint8 [H, W, 3]; or why there is neither."""
    age_ms: float = 0.0
    """How old the frame was when it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time that a frame spent in each stage, in milliseconds."""

    total_ms: float = 0.0
    """From its arrival to its answer, and the age it arrived with."""
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    infer_ms: float = 0.0
    """Around the network."""
    network_ms: float = 0.0
    """In the network, along with frames of other streams that shared its batch."""
    assemble_ms: float = 0.0
    track_ms: float = 0.0
    encode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The frame could not be parsed; the stream goes on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """The frame was not parsed, as agreed."""

    reason: SkipReason


Outcome: TypeAlias = FrameResult | Failed | Skipped


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer for one frame."""

    index: int
    time_s: float
    outcome: Outcome
    latency: Latency
    resume_token: bytes = b""
    """Empty with most answers; the newest one counts."""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The server is about to stop."""

    reason: str
    resume_token: bytes
    """Empty where no frame was parsed yet."""
    grace_ms: float


@dataclass(frozen=True, slots=True)
class Opened:
    """The server's first message of a stream: model, credits, policy."""

    stream_id: str
    model: ModelInfo
    precision: str
    credits: int
    policy: Policy
    resumed: bool
    token_lifetime_s: float
