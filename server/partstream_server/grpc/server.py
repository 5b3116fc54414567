"""A gRPC server with the service, health and reflection on one port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from partstream.v1 import service_pb2, service_pb2_grpc
from partstream_server.grpc.parsing_service import ParsingService
from partstream_server.security.tls import Tls
from partstream_server.service.service import Service

SERVICE: Final[str] = service_pb2.DESCRIPTOR.services_by_name["ParsingService"].full_name
_KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)
"""A client whose network is gone is noticed within a minute, and one that was cut off for 10 s is kept."""


class GrpcAddressError(Exception):
    """The port cannot be listened on; the message is for the user."""


class GrpcServer:
    """The server; health tells the truth about the engine and the end."""

    def __init__(self, service: Service) -> None:
        size = service.settings.max_message_bytes
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            ("grpc.so_reuseport", 0),
            *_KEEPALIVE,
        ]
        self._server = aio.server(options=options)
        self._health = health.aio.HealthServicer()
        self.port = 0
        add_service: Callable[[ParsingService, aio.Server], None] = (
            service_pb2_grpc.add_ParsingServiceServicer_to_server
        )
        add_service(ParsingService(service), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int, tls: Tls | None = None) -> None:
        """Listen; health says NOT_SERVING until it is told otherwise.

        Raises:
            GrpcAddressError: The port is taken or forbidden.
        """
        address = f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([tls.pair()]))
        except RuntimeError:
            raise GrpcAddressError(
                f"gRPC cannot listen on {address}; choose another port with PARTSTREAM_GRPC_PORT"
            ) from None
        await self.tell_health(serving=False)
        await self._server.start()

    async def tell_health(self, *, serving: bool) -> None:
        """Say whether calls will be answered."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Take no further calls; end those in flight when the grace is over."""
        await self._server.stop(grace_s)
