"""Prometheus metrics of the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from partstream_server.engine.base import CompilesShapes, Engine
from partstream_server.jobs.records import JobState
from partstream_server.service.admission import Gate, Openings
from partstream_server.streams.metrics import StreamMetrics

_REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """One service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "partstream_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "partstream_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route",),
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.problems = Counter(
            "partstream_problems", "Problem documents sent.", ("code",), registry=self.registry
        )
        self.upload_bytes = Counter("partstream_upload_bytes", "Bytes uploaded.", registry=self.registry)
        self.frames = Counter("partstream_frames", "Frames parsed.", registry=self.registry)
        self.stage_seconds = Histogram(
            "partstream_stage_seconds",
            "Time of a stage for one frame.",
            ("stage",),
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        self.streams = StreamMetrics(self.registry)
        """Metrics of live streams."""
        self._model = Gauge(
            "partstream_model_info",
            "1 for the bundle and engine in use.",
            ("bundle", "version", "provider", "precision"),
            registry=self.registry,
        )

        self._compiled_shapes = Gauge(
            "partstream_compiled_shapes", "Shapes that graphs are compiled for.", registry=self.registry
        )
        self._compiled_bytes = Gauge(
            "partstream_compiled_bytes", "Memory of compiled shapes.", registry=self.registry
        )
        self._compilations = Gauge(
            "partstream_compilations", "Compilations of a graph for a shape so far.", registry=self.registry
        )

    def watch(self, gate: Gate, openings: Openings) -> None:
        """Show how many are inside whenever the metrics are read."""
        opening = Gauge(
            "partstream_opening_sockets", "WebSockets without a config so far.", registry=self.registry
        )
        opening.set_function(lambda: openings.num_inside)
        inside = Gauge(
            "partstream_in_flight", "Requests let in and not yet answered.", registry=self.registry
        )
        inside.set_function(lambda: gate.num_inside)
        parsing = Gauge("partstream_parsing", "Requests parsing right now.", registry=self.registry)
        parsing.set_function(lambda: gate.num_parsing)

    def watch_jobs(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show how many jobs are in each state whenever the metrics are read."""
        jobs = Gauge("partstream_jobs", "Jobs that are kept, by state.", ("state",), registry=self.registry)
        for state in JobState:
            jobs.labels(state.value).set_function(partial(_count, counts, state.value))

    def show_model(self, engine: Engine) -> None:
        """Name the bundle and engine in use."""
        manifest = engine.bundle.manifest
        self._model.labels(manifest.name, manifest.version, engine.provider, engine.precision).set(1)
        if isinstance(engine, CompilesShapes):
            shapes = engine
            self._compiled_shapes.set_function(lambda: shapes.compiled_shapes().count)
            self._compiled_bytes.set_function(lambda: shapes.compiled_shapes().num_bytes)
            self._compilations.set_function(lambda: shapes.compiled_shapes().num_compilations)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _count(counts: Callable[[], Mapping[str, int]], state: str) -> int:
    return counts().get(state, 0)
