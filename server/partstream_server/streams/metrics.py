"""Prometheus metrics of live streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from partstream_core.results import FrameResult
from partstream_server.streams.values import Answer, Failed, Latency, Skipped

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2.5, 10)
_BATCHES: Final = (1, 2, 4, 8, 16)
_STAGES: Final = ("queue", "decode", "infer", "network", "assemble", "track", "encode")
UNANSWERED: Final = "unanswered"
"""Outcome of frames whose stream was closed before their answer was taken."""


class StreamMetrics:
    """The streams' part of a service's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.opened = Counter(
            "partstream_streams_opened", "Streams opened.", ("transport", "resumed"), registry=registry
        )
        self.refused = Counter(
            "partstream_streams_refused", "Streams that were not opened.", ("code",), registry=registry
        )
        self.open = Gauge("partstream_streams_open", "Streams open now.", ("transport",), registry=registry)
        self.frames = Counter(
            "partstream_stream_frames",
            "Frames of streams; the reason is that of a skip or the code of a failure.",
            ("outcome", "reason"),
            registry=registry,
        )
        self.latency = Histogram(
            "partstream_stream_latency_seconds",
            "Time from a frame's arrival to its result.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stages = Histogram(
            "partstream_stream_stage_seconds",
            "Time of a stage for one frame of a stream.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "partstream_batch_size",
            "Frames of streams that shared a run of a graph.",
            ("graph",),
            buckets=_BATCHES,
            registry=registry,
        )
        self._waiting = Gauge(
            "partstream_stream_waiting_frames", "Frames that wait for their turn now.", registry=registry
        )
        self._turns = Gauge(
            "partstream_stream_waiting_streams", "Streams that wait for their turn now.", registry=registry
        )

    def watch(self, *, num_frames: Callable[[], int], num_streams: Callable[[], int]) -> None:
        """Show how deep the queues are whenever the metrics are read."""
        self._waiting.set_function(num_frames)
        self._turns.set_function(num_streams)

    def answered(self, answer: Answer) -> None:
        """Count one frame's answer."""
        match answer.outcome:
            case FrameResult():
                self.frames.labels("result", "").inc()
                self.latency.observe(answer.latency.total_ms / 1000)
                self._observe_stages(answer.latency)
            case Failed(code):
                self.frames.labels("failure", code).inc()
            case Skipped(reason):
                self.frames.labels("skipped", reason.value).inc()

    def _observe_stages(self, latency: Latency) -> None:
        for stage in _STAGES:
            self.stages.labels(stage).observe(getattr(latency, f"{stage}_ms") / 1000)
