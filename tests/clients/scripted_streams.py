"""A server of streams that does what a test tells it: real gRPC, and what no good server would do."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import numpy as np

from partstream.v1 import results_pb2, service_pb2
from partstream_client import Answer, Client, LiveFrame, RetryPolicy, StreamOptions

Requests: TypeAlias = Iterator[service_pb2.StreamParseRequest]
Responses: TypeAlias = Iterator[service_pb2.StreamParseResponse]
Call: TypeAlias = Callable[[Requests, grpc.ServicerContext], Responses]

NOBODY = "http://127.0.0.1:9"
PICTURE = np.zeros((8, 8, 3), np.uint8)
LOSSLESS = StreamOptions(policy="block", frame_rate=10)


@dataclass
class Scripted:
    """A server that plays one script for each call, the last one for all further calls."""

    scripts: list[Call]
    address: str = ""
    configs: list[service_pb2.StreamConfig] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    def play(self, requests: Requests, context: grpc.ServicerContext) -> Responses:
        """Answer one call."""
        number = len(self.configs)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        self.configs.append(next(requests).config)
        yield from self.scripts[min(number, len(self.scripts) - 1)](requests, context)


@contextmanager
def scripted(*scripts: Call, port: int = 0) -> Iterator[Scripted]:
    """Run a server."""
    playing = Scripted(list(scripts))
    handler = grpc.stream_stream_rpc_method_handler(
        playing.play,
        request_deserializer=service_pb2.StreamParseRequest.FromString,
        response_serializer=service_pb2.StreamParseResponse.SerializeToString,
    )
    name = service_pb2.DESCRIPTOR.services_by_name["ParsingService"].full_name
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"StreamParse": handler}),))
    playing.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield playing
    finally:
        server.stop(None).wait()


def opened(
    *, num_credits: int = 4, resumed: bool = False, largest: int = 0
) -> service_pb2.StreamParseResponse:
    """The first answer."""
    message = service_pb2.StreamOpened(credits=num_credits, resumed=resumed, max_message_bytes=largest)
    return service_pb2.StreamParseResponse(opened=message)


def result(request: service_pb2.StreamParseRequest, *, identity: int = 1) -> service_pb2.StreamParseResponse:
    """The frame's answer: one person, and a token that names the frame."""
    frame = request.frame
    answer = service_pb2.FrameAnswer(
        index=frame.index,
        result=results_pb2.FrameResult(
            index=frame.index,
            time_s=frame.time_s,
            key_frame=True,
            people=[results_pb2.Person(identity=identity, score=0.5, box=results_pb2.Box(x2=1, y2=1))],
        ),
        resume_token=f"token {frame.index}".encode(),
    )
    return service_pb2.StreamParseResponse(answer=answer)


def skipped(
    request: service_pb2.StreamParseRequest, reason: service_pb2.SkipReason
) -> service_pb2.StreamParseResponse:
    """The frame was left out."""
    outcome = service_pb2.FrameSkipped(reason=reason)
    answer = service_pb2.FrameAnswer(index=request.frame.index, skipped=outcome)
    return service_pb2.StreamParseResponse(answer=answer)


def answers_all(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """A good server."""
    yield opened(resumed=True)
    for request in requests:
        yield result(request)


def breaks_after(num_answers: int) -> Call:
    """Answer so many frames, take one more, and break the call off as a dying server does."""

    def call(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield opened()
        for _ in range(num_answers):
            yield result(next(requests))
        next(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "the machine is gone")

    return call


def refuses(status: grpc.StatusCode, code: str, **trailers: str) -> Call:
    """Refuse the call with a stable code."""

    def call(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.set_trailing_metadata((("partstream-code", code), *trailers.items()))
        context.abort(status, "as the script says")

    return call


def frames(num: int) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    for number in range(num):
        yield np.full((8, 8, 3), number, np.uint8)


def client_of(*addresses: str, retries: int = 0, api_key: str | None = None) -> Client:
    retry = RetryPolicy(retries=retries, first_wait_s=0.01, longest_wait_s=0.01)
    return Client(NOBODY, streams=addresses, retry=retry, api_key=api_key)


def ask(*scripts: Call, num: int = 6, options: StreamOptions = LOSSLESS) -> list[Answer]:
    """Every answer of a stream to a server that plays the scripts."""
    with scripted(*scripts) as server, client_of(server.address) as client:
        return list(client.stream(frames(num), options))


def check_all_found(answers: list[Answer], num: int) -> None:
    assert [answer.index for answer in answers] == list(range(num))
    assert {type(answer) for answer in answers} == {LiveFrame}
