"""The account of a stream's frames, and the patience with which it is kept up."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_client import AnswerError, Failed, LiveFrame, Policy, RetryPolicy, Skipped
from partstream_client.streaming.answers import Answer, Latency
from partstream_client.streaming.ledger import Entry, Ledger
from partstream_client.streaming.patience import Patience
from partstream_core.results import FrameResult

LATENCY = Latency(
    round_trip_ms=0,
    total_ms=0,
    queue_ms=0,
    decode_ms=0,
    infer_ms=0,
    network_ms=0,
    assemble_ms=0,
    track_ms=0,
    encode_ms=0,
)


def found(entry: Entry) -> LiveFrame:
    record = FrameResult(entry.index, entry.time_s, True, ())
    return LiveFrame(record, image=entry.image, latency=LATENCY)


def send(ledger: Ledger, num: int = 1) -> list[Entry]:
    entries = []
    for _ in range(num):
        entry = ledger.waiting
        assert entry is not None
        ledger.sent(entry, 0.0)
        entries.append(entry)
    return entries


def add(ledger: Ledger, num: int = 1) -> None:
    for _ in range(num):
        ledger.add(b"picture", float(ledger.num_taken), 0.0)


def taken(ledger: Ledger) -> list[Answer]:
    answers = []
    while ledger.has_answer:
        answers.append(ledger.take())
    return answers


def spelled(answers: list[Answer]) -> list[str]:
    """Each answer as a word: its index, and r for a result, s for skipped, f for failed."""
    return [f"{each.index}{'rsf'[(LiveFrame, Skipped, Failed).index(type(each))]}" for each in answers]


def test_answers_leave_in_the_order_of_the_frames() -> None:
    ledger = Ledger(Policy.BLOCK)
    add(ledger, 3)
    first, second, third = send(ledger, 3)
    ledger.answered(third, found(third))
    ledger.answered(second, found(second))
    assert taken(ledger) == []
    ledger.answered(first, found(first))
    assert spelled(taken(ledger)) == ["0r", "1r", "2r"]


def test_block_takes_a_frame_only_when_none_waits() -> None:
    ledger = Ledger(Policy.BLOCK)
    add(ledger)
    assert not ledger.wants_frame
    send(ledger)
    assert ledger.wants_frame


def test_latest_leaves_out_what_waits_when_a_newer_one_comes() -> None:
    ledger = Ledger(Policy.LATEST)
    add(ledger)
    (first,) = send(ledger)
    add(ledger, 3)
    assert ledger.waiting is not None
    assert ledger.waiting.index == 3
    ledger.answered(first, found(first))
    answers = taken(ledger)
    assert spelled(answers) == ["0r", "1s", "2s"]
    assert [each.reason for each in answers if isinstance(each, Skipped)] == ["replaced", "replaced"]


def test_a_lost_connection_sends_again_under_block_and_skips_under_latest() -> None:
    lossless, live = Ledger(Policy.BLOCK), Ledger(Policy.LATEST)
    for ledger in (lossless, live):
        add(ledger)
        send(ledger)
        ledger.connection_lost()
    assert lossless.waiting is not None
    assert lossless.waiting.index == 0
    assert spelled(taken(live)) == ["0s"]


def test_a_frame_that_ends_every_connection_fails_at_last() -> None:
    ledger = Ledger(Policy.BLOCK)
    add(ledger)
    num_sendings = 0
    while ledger.waiting is not None:
        send(ledger)
        num_sendings += 1
        ledger.connection_lost()
    assert num_sendings == 3
    (answer,) = taken(ledger)
    assert isinstance(answer, Failed)
    assert answer.code == "connection_lost"


def test_nothing_is_sent_while_results_wait_to_be_read() -> None:
    ledger = Ledger(Policy.LATEST)
    num_sent = 0
    while True:
        add(ledger)
        entry = ledger.waiting
        if entry is None:
            break
        ledger.sent(entry, 0.0)
        ledger.answered(entry, found(entry))
        num_sent += 1
    assert num_sent == 8
    ledger.take()
    assert ledger.waiting is not None


def test_a_source_that_nobody_reads_is_left_alone_at_last() -> None:
    ledger = Ledger(Policy.LATEST)
    while ledger.wants_frame:
        add(ledger)
    assert ledger.num_taken == 256


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    ledger = Ledger(Policy.BLOCK)
    add(ledger)
    with pytest.raises(AnswerError, match="frame 0"):
        ledger.entry(0)
    send(ledger)
    ledger.answered(ledger.entry(0), found(ledger.entry(0)))
    with pytest.raises(AnswerError, match="frame 0"):
        ledger.entry(0)


steps = st.lists(st.sampled_from(["add", "send", "answer", "lose", "again", "take"]), max_size=80)


@given(policy=st.sampled_from(Policy), steps=steps)
def test_every_frame_is_answered_once_and_in_order_whatever_happens(policy: Policy, steps: list[str]) -> None:
    ledger = Ledger(policy)
    in_flight: list[Entry] = []
    answers: list[Answer] = []
    for step in steps:
        if step == "add" and ledger.wants_frame:
            add(ledger)
        elif step == "send" and ledger.waiting is not None:
            in_flight += send(ledger)
        elif step == "answer" and in_flight:
            entry = ledger.entry(in_flight.pop(0).index)
            ledger.answered(entry, found(entry))
        elif step == "again" and in_flight and ledger.send_again(in_flight[-1]):
            in_flight.pop()
        elif step == "lose":
            in_flight.clear()
            ledger.connection_lost()
        elif step == "take" and ledger.has_answer:
            answers.append(ledger.take())
        assert ledger.num_in_flight == len(in_flight)
    ledger.give_up("over")
    answers += taken(ledger)
    assert [each.index for each in answers] == list(range(ledger.num_taken))


def test_a_first_connection_is_tried_as_often_as_the_policy_says() -> None:
    patience = Patience(RetryPolicy(retries=2), 60.0, random.Random(0))
    waits_s = [patience.wait_s(now) for now in (0.0, 1.0, 2.0)]
    assert [wait is None for wait in waits_s] == [False, False, True]


def test_a_stream_is_resumed_at_once_then_with_growing_waits_until_it_is_given_up() -> None:
    patience = Patience(RetryPolicy(retries=0), 60.0, random.Random(0))
    patience.opened()
    assert patience.wait_s(100.0) == 0.0
    waits_s = [patience.wait_s(100.0 + second) for second in range(1, 9)]
    for wait_s, step_s in zip(waits_s, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0], strict=True):
        assert wait_s is not None
        assert step_s / 2 <= wait_s <= step_s
    assert patience.wait_s(160.5) is None


def test_progress_ends_trouble_and_opening_alone_does_not() -> None:
    patience = Patience(RetryPolicy(retries=0), 60.0, random.Random(0))
    patience.opened()
    patience.wait_s(0.0)
    patience.opened()
    assert patience.wait_s(61.0) is None
    patience.progress()
    assert patience.wait_s(62.0) == 0.0


def test_a_server_that_names_a_wait_is_waited_for_within_reason() -> None:
    patience = Patience(RetryPolicy(retries=3), 60.0, random.Random(0))
    assert patience.wait_s(0.0, asked_s=7.0) == 7.0
    assert patience.wait_s(0.0, asked_s=3600.0) == 60.0
