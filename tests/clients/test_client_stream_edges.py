"""Live streams against servers that are slow, silent or wrong, and sources that end badly."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from partstream.v1 import service_pb2
from partstream_client import (
    Answer,
    AnswerError,
    ConnectionFailedError,
    DeadlineError,
    Failed,
    LiveFrame,
    StreamOptions,
    UnreachableError,
)
from tests.clients.scripted_streams import (
    LOSSLESS,
    PICTURE,
    Call,
    Requests,
    Responses,
    answers_all,
    ask,
    check_all_found,
    client_of,
    frames,
    opened,
    result,
    scripted,
)


def test_no_more_frames_are_in_flight_than_the_server_grants() -> None:
    most = 0

    def counts(requests: Requests, context: grpc.ServicerContext) -> Responses:
        nonlocal most
        yield opened(num_credits=2)
        held = []
        for request in requests:
            held.append(request)
            most = max(most, len(held))
            if len(held) == 2:
                yield from (result(each) for each in held)
                held = []
        yield from (result(each) for each in held)

    check_all_found(ask(counts, num=9), 9)
    assert most == 2


def test_a_frame_beyond_the_servers_limit_fails_and_the_stream_goes_on() -> None:
    def small(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield opened(largest=1000)
        yield from (result(request) for request in requests)

    options = StreamOptions(policy="block", encoding="raw")
    with scripted(small) as server, client_of(server.address) as client:
        large = np.zeros((40, 40, 3), np.uint8)
        first, second, third = client.stream([PICTURE, large, PICTURE], options)
    assert isinstance(second, Failed)
    assert second.code == "frame_too_large"
    assert (type(first), type(third)) == (LiveFrame, LiveFrame)


def answers_nothing(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Open the stream, then stay silent for as long as anybody listens."""
    yield opened()
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait()


def test_a_silent_server_is_left_for_another() -> None:
    options = StreamOptions(policy="block", answer_timeout_s=0.2)
    check_all_found(ask(answers_nothing, answers_all, options=options), 6)


def test_a_deadline_ends_a_stream_that_does_not_end() -> None:
    with (
        scripted(answers_nothing) as server,
        client_of(server.address) as client,
        pytest.raises(DeadlineError),
    ):
        list(client.stream(frames(3), LOSSLESS, deadline_s=0.2))


def answers_twice(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Break the contract."""
    yield opened()
    for request in requests:
        yield result(request)
        yield result(request)


def says_nothing(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Open with an answer."""
    yield service_pb2.StreamParseResponse()
    yield from (result(request) for request in requests)


@pytest.mark.parametrize("script", [answers_twice, says_nothing])
def test_a_server_that_breaks_the_contract_is_reported(script: Call) -> None:
    with pytest.raises(AnswerError):
        ask(script)


@contextmanager
def listening() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


def test_a_server_that_never_answers_is_given_up() -> None:
    options = StreamOptions(open_timeout_s=0.3)
    with (
        listening() as address,
        client_of(address) as client,
        pytest.raises(ConnectionFailedError, match=r"within 0\.3 s"),
    ):
        list(client.stream(frames(3), options))


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with client_of("127.0.0.1:9") as client, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        list(client.stream(frames(3), LOSSLESS))


def test_what_the_source_raises_comes_after_the_answers_of_its_frames() -> None:
    def camera() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        yield from frames(3)
        raise OSError("unplugged")

    answers: list[Answer] = []
    with (
        scripted(answers_all) as server,
        client_of(server.address) as client,
        pytest.raises(OSError, match="unplugged"),
    ):
        answers.extend(client.stream(camera(), LOSSLESS))
    check_all_found(answers, 3)


def test_a_frame_that_is_none_ends_the_stream_with_a_clear_error() -> None:
    answers: list[Answer] = []
    wrong = np.zeros((4, 4), np.float32)
    with (
        scripted(answers_all) as server,
        client_of(server.address) as client,
        pytest.raises(ValueError, match=r"float32 \[4, 4\]"),
    ):
        answers.extend(client.stream([PICTURE, wrong], LOSSLESS))  # type: ignore[list-item]
    check_all_found(answers, 1)


def test_closing_early_ends_the_call_and_closes_the_source() -> None:
    ended, closed = threading.Event(), threading.Event()

    def endless(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.add_callback(ended.set)
        yield opened()
        yield from (result(request) for request in requests)

    def camera() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        try:
            while True:
                yield PICTURE
        finally:
            closed.set()

    with scripted(endless) as server, client_of(server.address) as client:
        answers = client.stream(camera(), LOSSLESS)
        next(answers)
        answers.close()
        assert closed.is_set()
        assert ended.wait(30)
        check_all_found(list(client.stream(frames(2), LOSSLESS)), 2)


def test_nothing_is_left_running_when_the_client_is_closed() -> None:
    before = {thread for thread in threading.enumerate() if thread.name.startswith("partstream")}
    with scripted(answers_all) as server, client_of(server.address) as client:
        list(client.stream(frames(3), LOSSLESS))
        during = {thread.name for thread in threading.enumerate()}
    after = {thread for thread in threading.enumerate() if thread.name.startswith("partstream")}
    assert "partstream-client" in during
    assert after == before
