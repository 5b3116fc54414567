"""Spans of requests for OpenTelemetry, where PARTSTREAM_OTLP_ENDPOINT says where to send them.

The packages come with the extra `tracing`; without the setting none of them is imported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_TIMEOUT_S: Final = 3.0


class TracingError(Exception):
    """Spans were asked for and cannot be sent; the message is for the user."""


class Tracing:
    """Sends a span for each request, named by its route."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the packages may be missing
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

        self._provider = TracerProvider(
            resource=Resource({"service.name": "partstream"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("partstream")

    def record(self, name: str, seconds: float, attributes: Mapping[str, Any]) -> None:
        """Send a span that ends now."""
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            name, start_time=ended_ns - round(seconds * 1e9), attributes=attributes
        )
        span.end(ended_ns)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def open_tracing(endpoint: str) -> Tracing | None:
    """What sends spans to an OTLP collector's gRPC address; None where the address is empty.

    Raises:
        TracingError: The packages are not installed.
    """
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingError(
            f"PARTSTREAM_OTLP_ENDPOINT needs the extra `tracing` of partstream-server ({error})"
        ) from None
    insecure = not endpoint.startswith("https:")
    return Tracing(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure, timeout=_TIMEOUT_S))
    )
