"""Live streams against servers that behave as a test wants it, over real connections."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
import pytest

from partstream.v1 import service_pb2
from partstream_client import (
    Answer,
    AsyncClient,
    AuthError,
    ConnectionFailedError,
    Failed,
    LiveFrame,
    RejectedError,
    Skipped,
    StreamOptions,
    TimedFrame,
    UnavailableError,
)
from tests.clients.scripted_streams import (
    LOSSLESS,
    NOBODY,
    PICTURE,
    Requests,
    Responses,
    answers_all,
    ask,
    breaks_after,
    check_all_found,
    client_of,
    frames,
    opened,
    refuses,
    result,
    scripted,
    skipped,
)


def test_every_frame_comes_back_with_its_picture_and_time() -> None:
    answers = ask(answers_all)
    check_all_found(answers, 6)
    for number, answer in enumerate(answers):
        assert isinstance(answer, LiveFrame)
        assert isinstance(answer.image, np.ndarray)
        assert (answer.image == number).all()
        assert answer.time_s == pytest.approx(number / 10)
        assert answer.size == (8, 8)
        assert [person.identity for person in answer.people] == [1]


def test_frames_with_their_own_times_keep_them() -> None:
    with scripted(answers_all) as server, client_of(server.address) as client:
        answers = list(client.stream([TimedFrame(PICTURE, 3.5), TimedFrame(b"jpeg", 7.25)], LOSSLESS))
    assert [answer.time_s for answer in answers if isinstance(answer, LiveFrame)] == [3.5, 7.25]


def test_a_stream_without_frames_has_no_answers() -> None:
    assert ask(answers_all, num=0) == []


def test_an_event_loop_of_ones_own_does_the_same() -> None:
    async def camera() -> AsyncIterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for frame in frames(4):
            yield frame

    async def main(address: str) -> list[Answer]:
        async with AsyncClient(NOBODY, streams=address) as client:
            return [answer async for answer in client.stream(camera(), LOSSLESS)]

    with scripted(answers_all) as server:
        check_all_found(asyncio.run(main(server.address)), 4)


def test_a_lost_connection_is_followed_by_another_with_the_newest_token() -> None:
    with (
        scripted(breaks_after(2), breaks_after(1), answers_all) as server,
        client_of(server.address) as client,
    ):
        answers = list(client.stream(frames(6), LOSSLESS))
    check_all_found(answers, 6)
    assert [config.resume_token for config in server.configs] == [b"", b"token 1", b"token 2"]


def test_the_next_address_is_taken_when_the_first_is_lost() -> None:
    with (
        scripted(breaks_after(2)) as first,
        scripted(answers_all) as second,
        client_of(first.address, second.address) as client,
    ):
        answers = list(client.stream(frames(6), LOSSLESS))
    check_all_found(answers, 6)
    assert (len(first.configs), len(second.configs)) == (1, 1)
    assert second.configs[0].resume_token == b"token 1"


def test_an_address_where_nobody_is_does_not_hinder_the_others() -> None:
    with scripted(answers_all) as server, client_of("127.0.0.1:9", server.address) as client:
        check_all_found(list(client.stream(frames(3), LOSSLESS)), 3)


def going_away(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Answer two frames, say goodbye, and skip whatever still comes."""
    yield opened()
    yield result(next(requests))
    yield result(next(requests))
    yield service_pb2.StreamParseResponse(going_away=service_pb2.GoingAway(resume_token=b"goodbye"))
    for request in requests:
        yield skipped(request, service_pb2.SKIP_REASON_GOING_AWAY)


def test_a_server_that_goes_away_is_left_and_no_frame_is_lost() -> None:
    with scripted(going_away, answers_all) as server, client_of(server.address) as client:
        answers = list(client.stream(frames(8), LOSSLESS))
    check_all_found(answers, 8)
    assert server.configs[1].resume_token == b"goodbye"
    assert {answer.epoch for answer in answers if isinstance(answer, LiveFrame)} == {0}


@pytest.mark.parametrize("code", ["bad_resume_token", "resume_token_expired", "resume_token_foreign"])
def test_a_token_that_is_refused_starts_a_new_epoch(code: str) -> None:
    refusal = refuses(grpc.StatusCode.FAILED_PRECONDITION, code)

    def starts_anew(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield opened(resumed=False)
        yield from (result(request) for request in requests)

    answers = ask(breaks_after(2), refusal, starts_anew)
    check_all_found(answers, 6)
    assert [answer.epoch for answer in answers if isinstance(answer, LiveFrame)] == [0, 0, 1, 1, 1, 1]


def test_a_still_source_finds_its_stream_again() -> None:
    def tires(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield opened()
        yield result(next(requests))
        context.set_trailing_metadata((("partstream-code", "idle_timeout"),))
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "nothing came")

    check_all_found(ask(tires, answers_all), 6)


def test_latest_skips_what_a_lost_connection_took_along() -> None:
    more = threading.Event()

    def camera() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        yield PICTURE
        more.wait(30)
        yield PICTURE

    with scripted(breaks_after(0), answers_all) as server, client_of(server.address) as client:
        answers = client.stream(camera())
        first = next(answers)
        more.set()
        rest = list(answers)
    assert first == Skipped(index=0, time_s=first.time_s, reason="connection_lost")
    assert [type(each) for each in rest] == [LiveFrame]


def test_a_stream_that_cannot_be_resumed_is_given_up_and_its_frames_are_told_so() -> None:
    options = StreamOptions(policy="block", give_up_s=0.3, max_in_flight=4)
    answers: list[Answer] = []
    with scripted(breaks_after(2)) as server, client_of(server.address) as client:
        stream = client.stream(frames(50), options)
        answers.append(next(stream))
        answers.append(next(stream))
        server.scripts[0] = breaks_after(0)
        with pytest.raises(ConnectionFailedError, match="broke off"):
            answers.extend(stream)
    assert [answer.index for answer in answers] == list(range(len(answers)))
    assert {answer.code for answer in answers[2:] if isinstance(answer, Failed)} == {"connection_lost"}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "key_wrong", AuthError),
        (grpc.StatusCode.NOT_FOUND, "unknown_bundle", RejectedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", UnavailableError),
    ],
)
def test_a_refusal_reaches_the_caller_with_its_code(
    status: grpc.StatusCode, code: str, kind: type[RejectedError]
) -> None:
    with pytest.raises(kind) as caught:
        ask(refuses(status, code))
    assert caught.value.code == code


def test_a_full_server_is_tried_again() -> None:
    busy = refuses(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
    with scripted(busy, busy, answers_all) as server, client_of(server.address, retries=2) as client:
        check_all_found(list(client.stream(frames(3), LOSSLESS)), 3)


def test_the_key_goes_along() -> None:
    with scripted(answers_all) as server, client_of(server.address, api_key="secret") as client:
        list(client.stream(frames(1), LOSSLESS))
    assert server.metadata[0]["authorization"] == "Bearer secret"
