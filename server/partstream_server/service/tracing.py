"""Spans of requests for OpenTelemetry, where PARTSTREAM_OTLP_ENDPOINT says where to send them.

The packages come with the extra `tracing`; without the setting none of them is imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

Headers: TypeAlias = Iterable[tuple[str | bytes, str | bytes]]
"""Names and values of HTTP headers or gRPC metadata."""
_TIMEOUT_S: Final = 3.0
_TRACE_HEADERS: Final = ("traceparent", "tracestate")


class TracingError(Exception):
    """Spans were asked for and cannot be sent; the message is for the user."""


class Tracing:
    """Sends a span for each request, named by its route."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the packages may be missing
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._provider = TracerProvider(
            resource=Resource({"service.name": "partstream"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("partstream")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, name: str, seconds: float, attributes: Mapping[str, Any], headers: Headers = ()) -> None:
        """Send a span that ends now.

        Args:
            name: Of the span.
            seconds: How long it took.
            attributes: Of the span.
            headers: Of the request. With a `traceparent` (W3C Trace Context) among them the span is a child
                of the caller's; one that is damaged counts as none.
        """
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(_trace_headers(headers)),
            start_time=ended_ns - round(seconds * 1e9),
            attributes=attributes,
        )
        span.end(ended_ns)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _trace_headers(headers: Headers) -> dict[str, str]:
    """The headers of W3C Trace Context; binary metadata and others are left out."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1") if isinstance(raw_name, bytes) else raw_name
        if name.lower() in _TRACE_HEADERS:
            value = raw_value.decode("latin-1") if isinstance(raw_value, bytes) else raw_value
            found[name.lower()] = value
    return found


def open_tracing(endpoint: str) -> Tracing | None:
    """Exporter of spans to an OTLP collector's gRPC address; None if the address is empty.

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
