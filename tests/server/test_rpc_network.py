"""A network that goes away for a while, between a real client and a real server."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from partstream.v1 import service_pb2_grpc
from partstream_server.engine import Engine
from tests.server.running_grpc import Call, serving_grpc
from tests.server.stream_fixtures import jpeg, walk

PICTURES = [jpeg(image) for image in walk(4)]


class Wire:
    """A TCP connection passed on, as long as it is not cut."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._server = (host, int(port))
        self.whole = threading.Event()
        self.whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        """Pass one connection on, both ways, until either end closes it."""
        with self._listener:
            near, _ = self._listener.accept()
        with near, socket.create_connection(self._server) as far:
            back = threading.Thread(target=self._pass_on, args=(far, near))
            back.start()
            self._pass_on(near, far)
            back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.whole.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Wait for the end of the connection."""
        self._thread.join()


@pytest.mark.slow
def test_a_stream_outlives_ten_seconds_without_network(engine: Engine, tmp_path: Path) -> None:
    with serving_grpc(engine, tmp_path) as server:
        wire = Wire(server.target)
        with grpc.insecure_channel(wire.target) as channel:
            call = Call(service_pb2_grpc.ParsingServiceStub(channel))  # type: ignore[no-untyped-call]
            before = call.answer(0, PICTURES[0])
            wire.whole.clear()
            call.frame(1, PICTURES[1])
            call.frame(2, PICTURES[2])
            threading.Event().wait(10)
            wire.whole.set()
            assert [call.read().answer.index for _ in range(2)] == [1, 2]
            after = call.answer(3, PICTURES[3])
            assert call.rest() == []
        wire.close()
        known = {person.identity for person in before.result.people}
        assert known & {person.identity for person in after.result.people}
        server.check_unharmed()
