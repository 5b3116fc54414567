"""`partstream serve` as a process that a test starts, kills and starts again at the same addresses."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

PATIENCE_S = 180.0
_WAIT = threading.Event().wait


@dataclass
class ServerProcess:
    """A server that can be started more than once."""

    directory: Path
    variables: dict[str, str]
    port: int
    grpc_port: int
    verify: str | bool = True
    """The certificate to trust, where the server has one of its own."""
    _process: subprocess.Popen[str] | None = field(default=None)

    @property
    def url(self) -> str:
        """Where HTTP is."""
        return f"{'http' if self.verify is True else 'https'}://127.0.0.1:{self.port}"

    @property
    def streams(self) -> str:
        """Where gRPC is."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def log(self) -> str:
        """What all processes have logged so far."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start a process and wait until it is ready."""
        assert self._process is None
        with (self.directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "partstream_server", "serve", "--threads", "1"],
                env=_environment(self.variables, self.port, self.grpc_port),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert re.search(rf":{self.port}, gRPC on port {self.grpc_port}", line), (line, self.log)
        with httpx.Client(base_url=self.url, verify=_trusting(self.verify)) as http:
            while http.get("/readyz").status_code != 200:
                assert self._process.poll() is None, self.log
                _WAIT(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end. Without a process nothing happens."""
        if self._process is not None:
            self._process.send_signal(number)
            self.end()

    def end(self) -> int:
        """Wait for the end; the exit status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE_S)
        self._process.communicate()
        self._process = None
        return status

    def begin_to_stop(self) -> None:
        """Send SIGTERM, as whoever stops a service does, and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)


@contextmanager
def server_process(
    directory: Path, *, verify: str | bool = True, **variables: str
) -> Iterator[ServerProcess]:
    """A server that has been started; it does not outlive the context."""
    port, grpc_port = _free_ports(2)
    server = ServerProcess(directory, variables, port, grpc_port, verify)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGKILL)


def _environment(variables: dict[str, str], port: int, grpc_port: int) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests, but with theirs for the bundle."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if name != "PORT" and (not name.startswith("PARTSTREAM_") or name == "PARTSTREAM_BUNDLE")
    }
    addresses = {"PARTSTREAM_PORT": str(port), "PARTSTREAM_GRPC_PORT": str(grpc_port)}
    return bare | addresses | variables


def _trusting(verify: str | bool) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _free_ports(num: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
