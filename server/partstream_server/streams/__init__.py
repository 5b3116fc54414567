"""Live streams without a transport: gRPC, WebSockets and pulled sources all put their frames in here."""

from partstream_server.streams.errors import StreamClosedError
from partstream_server.streams.hub import HubConfig, OpenStream, StreamHub
from partstream_server.streams.stream import FrameAccount, Stream
from partstream_server.streams.values import (
    Answer,
    Failed,
    GoingAway,
    InputFrame,
    Latency,
    Opened,
    Outcome,
    Policy,
    Skipped,
    SkipReason,
    StreamConfig,
)

__all__ = [
    "Answer",
    "Failed",
    "FrameAccount",
    "GoingAway",
    "HubConfig",
    "InputFrame",
    "Latency",
    "OpenStream",
    "Opened",
    "Outcome",
    "Policy",
    "SkipReason",
    "Skipped",
    "Stream",
    "StreamClosedError",
    "StreamConfig",
    "StreamHub",
]
