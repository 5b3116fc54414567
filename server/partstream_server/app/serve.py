"""`partstream serve`: starts the service and shuts it down gracefully."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partstream_server.config.settings import Settings, SettingsError, load_settings
from partstream_server.security.tls import Tls, TlsError, read_tls

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Config

    from partstream_core.errors import PartstreamError

EXIT_FAILURE = 1
EXIT_USAGE = 2
_BACKLOG = 2048


class AddressError(Exception):
    """The address cannot be listened on; the message is for the user."""


def serve_command(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0: a free one.  [default: 8000]", show_default=False),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Directory of the bundle.  [default: the one that ships inside]")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="auto, openvino, onnxruntime, cuda, tensorrt or triton.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, f32, tf32, bf16, fp16 or int8.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the network; 0: one a core.")] = None,
    allow_remote: Annotated[
        bool | None,
        typer.Option("--allow-remote", help="Allow addresses that other machines reach.", show_default=False),
    ] = None,
) -> None:
    """Start the HTTP service. Options go before the variables PARTSTREAM_..., which set everything else."""
    given = {
        "host": host,
        "port": port,
        "bundle": bundle,
        "provider": provider,
        "precision": precision,
        "threads": threads,
        "allow_remote": allow_remote,
    }
    try:
        settings = load_settings(given)
        tls = read_tls(settings)
        listener = listen(settings.host, settings.port)
    except (SettingsError, TlsError, AddressError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_FAILURE if isinstance(error, AddressError) else EXIT_USAGE) from None
    sys.exit(run(settings, listener, tls))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        AddressError: The port is taken or forbidden, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # localhost is both ::1 and 127.0.0.1; clients that try the first fall back to the second.
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"{host} is not an address of this machine: {error.strerror or error}") from error
    try:
        if sys.platform != "win32":
            # So that a server can be started again at once.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressError(_explain(error, host, port)) from error
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another one with --port or PARTSTREAM_PORT"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved; choose one above 1023 with --port or PARTSTREAM_PORT"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"


def run(settings: Settings, listener: socket.socket, tls: Tls | None = None) -> int:
    """Serve on a listening socket until a signal comes, and return the exit status."""
    # Imported here: the address is checked, and `--help` answers, before a second goes into these.
    from partstream_server.app.lifetime import HttpServer, Lifetime  # noqa: PLC0415
    from partstream_server.grpc.server import GrpcAddressError  # noqa: PLC0415
    from partstream_server.rest.app import create_app  # noqa: PLC0415
    from partstream_server.service.logs import configure_logging  # noqa: PLC0415
    from partstream_server.service.tracing import TracingError, open_tracing  # noqa: PLC0415

    configure_logging(level=settings.log_level, form=settings.log_format)
    failures: list[PartstreamError] = []

    def on_failure(error: PartstreamError) -> None:
        failures.append(error)
        http.should_exit = True

    def say(grpc_port: int | None) -> None:
        address = address_of(listener, encrypted=tls is not None)
        also = f", gRPC on port {grpc_port}" if grpc_port is not None else ""
        typer.echo(f"partstream listens on {address}{also} (Ctrl+C stops it)")
        sys.stdout.flush()

    try:
        tracing = open_tracing(settings.otlp_endpoint)
    except TracingError as error:
        typer.echo(f"error: {error}", err=True)
        return EXIT_USAGE
    app = create_app(settings, on_failure=on_failure, tracing=tracing)
    http = HttpServer(server_config(app, settings, tls))

    async def live() -> None:
        await Lifetime(http, app.state.service, say=say).run(listener, tls)

    try:
        asyncio.run(live())
    except GrpcAddressError as error:
        typer.echo(f"error: {error}", err=True)
        return EXIT_FAILURE
    finally:
        listener.close()
        if tracing is not None:
            tracing.close()
    if failures:
        typer.echo(f"error: {failures[0]}", err=True)
        return EXIT_FAILURE
    return 0


def server_config(app: FastAPI, settings: Settings, tls: Tls | None = None) -> Config:
    """How uvicorn runs the application."""
    from uvicorn import Config  # noqa: PLC0415 - see `run`

    from partstream_server.app.lifetime import LAST_WORDS_S  # noqa: PLC0415
    from partstream_server.rest.connections import limited_protocols  # noqa: PLC0415

    http, socket = limited_protocols(most=settings.max_connections, head_timeout_s=settings.opening_timeout_s)
    return Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        loop="asyncio",
        http=http,
        ws=socket,
        ws_max_size=settings.max_message_bytes,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        timeout_graceful_shutdown=LAST_WORDS_S,
    )


def address_of(listener: socket.socket, *, encrypted: bool = False) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if encrypted else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
