"""A real server with HTTP and gRPC on loopback ports, in a thread of this process, and a plain client."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from partstream.v1 import service_pb2, service_pb2_grpc
from partstream_server.app.lifetime import HttpServer, Lifetime
from partstream_server.app.serve import address_of, listen, server_config
from partstream_server.config.settings import Settings
from partstream_server.engine import Engine
from partstream_server.rest.app import create_app
from partstream_server.service.service import Service
from partstream_server.service.tracing import Tracing
from tests.server.running_server import PATIENCE_S, eventually

Request = service_pb2.StreamParseRequest
Response = service_pb2.StreamParseResponse
BLOCK = service_pb2.StreamConfig(policy=service_pb2.POLICY_BLOCK)


class Call:
    """One StreamParse call, message by message; it ends with the test that made it."""

    def __init__(self, stub: Any, config: service_pb2.StreamConfig | None = BLOCK, **options: Any) -> None:
        self._changed = threading.Condition()
        self._outgoing: list[Request | None] = []
        self.responses = stub.StreamParse(self._requests(), **{"timeout": PATIENCE_S, **options})
        self.opened: service_pb2.StreamOpened | None = None
        if config is not None:
            self.send(Request(config=config))
            self.opened = self.read().opened

    def _requests(self) -> Iterator[Request]:
        while True:
            with self._changed:
                while not self._outgoing:
                    self._changed.wait()
                message = self._outgoing.pop(0)
            if message is None:
                return
            yield message

    def send(self, message: Request | None) -> None:
        """Send a message; None ends the sending."""
        with self._changed:
            self._outgoing.append(message)
            self._changed.notify()

    def frame(self, index: int, image: bytes, *, time_s: float | None = None) -> None:
        """Send an encoded frame."""
        moment = index / 25 if time_s is None else time_s
        self.send(Request(frame=service_pb2.StreamFrame(index=index, time_s=moment, encoded=image)))

    def read(self) -> Response:
        """The next message."""
        response: Response = next(self.responses)
        return response

    def rest(self) -> list[Response]:
        """End the sending and read what is left."""
        self.send(None)
        return list(self.responses)

    def answer(self, index: int, image: bytes) -> service_pb2.FrameAnswer:
        """Send a frame and read its answer."""
        self.frame(index, image)
        return self.read().answer

    def close(self) -> None:
        """Cancel, if it goes on still."""
        self.responses.cancel()
        self.send(None)


@dataclass(frozen=True)
class RunningGrpc:
    """A server that runs in a thread of this process."""

    target: str
    url: str
    service: Service
    lifetime: Lifetime
    loop: asyncio.AbstractEventLoop

    def channel(self, **options: Any) -> grpc.Channel:
        """A channel with room for large messages."""
        sizes = {"grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1, **options}
        return grpc.insecure_channel(self.target, options=list(sizes.items()))

    @contextmanager
    def stub(self) -> Iterator[Any]:
        """A client that is nothing but the generated code."""
        with self.channel() as channel:
            grpc.channel_ready_future(channel).result(PATIENCE_S)
            yield service_pb2_grpc.ParsingServiceStub(channel)  # type: ignore[no-untyped-call]

    def exchange(
        self, images: Iterable[bytes], config: service_pb2.StreamConfig = BLOCK
    ) -> list[service_pb2.FrameAnswer]:
        """Answers to frames, within the credits."""
        with self.stub() as stub:
            call = Call(stub, config)
            answers = [call.answer(index, image) for index, image in enumerate(images)]
            assert call.rest() == []
            return answers

    def check_unharmed(self) -> None:
        """No stream is left, and the next one is served."""
        eventually(lambda: not self.service.hub.streams, "no stream is open")
        (answer,) = self.exchange([_picture()])
        assert answer.HasField("result")
        eventually(lambda: not self.service.hub.streams, "no stream is open")


def _picture() -> bytes:
    from tests.server.stream_fixtures import jpeg, walk

    return jpeg(walk(1)[0])


@contextmanager
def serving_grpc(
    engine: Engine, work_dir: Path, *, tracing: Tracing | None = None, **options: Any
) -> Iterator[RunningGrpc]:
    """Run a server; the options are settings."""
    work_dir.mkdir(parents=True, exist_ok=True)
    settings = Settings(temp_dir=work_dir, grpc_port=0, **options)
    app = create_app(settings, engine, tracing=tracing)
    service: Service = app.state.service
    started: threading.Event = threading.Event()
    found: dict[str, Any] = {}

    async def live(listener: Any) -> None:
        def say(port: int | None) -> None:
            found["port"] = port
            started.set()

        found["loop"] = asyncio.get_running_loop()
        found["lifetime"] = Lifetime(HttpServer(server_config(app, settings)), service, say=say)
        await found["lifetime"].run(listener, None)

    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(live(listener)), name="server")
        thread.start()
        assert started.wait(PATIENCE_S)
        running = RunningGrpc(
            f"127.0.0.1:{found['port']}", address_of(listener), service, found["lifetime"], found["loop"]
        )
        try:
            yield running
        finally:
            if thread.is_alive():
                running.loop.call_soon_threadsafe(running.lifetime.stop)
                running.loop.call_soon_threadsafe(running.lifetime.stop)
            thread.join(PATIENCE_S)
    assert not thread.is_alive()
