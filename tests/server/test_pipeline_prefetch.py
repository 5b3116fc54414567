"""Computing ahead on a thread: bounded, in order, and gone when it is closed."""

import threading
from collections.abc import Iterator

import pytest

from partstream_server.offline.prefetch import Prefetch


def test_values_come_once_and_in_order() -> None:
    prefetch = Prefetch(range(1000), ahead=3, name="test")
    assert list(prefetch) == list(range(1000))
    prefetch.close()


def test_no_more_than_so_many_values_are_ahead_of_the_reader() -> None:
    taken: list[int] = []
    reached = threading.Event()

    def values() -> Iterator[int]:
        for value in range(100):
            taken.append(value)
            if value == 4:
                reached.set()
            yield value

    prefetch = Prefetch(values(), ahead=4, name="test")
    assert reached.wait(10)
    assert len(taken) == 5, "four are ready and one waits for room"
    assert next(iter(prefetch)) == 0
    prefetch.close()
    assert len(taken) <= 6


def test_an_error_is_raised_where_its_value_would_have_been() -> None:
    def values() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    prefetch = Prefetch(values(), ahead=5, name="test")
    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for value in prefetch:
            seen.append(value)  # noqa: PERF402 - what came before the error counts
    assert seen == [1, 2]
    prefetch.close()


def test_closing_ends_the_thread_whether_or_not_anybody_reads() -> None:
    before = threading.active_count()
    forever = iter(int, 1)
    unread, half_read = Prefetch(forever, ahead=2, name="test"), Prefetch(iter(int, 1), ahead=2, name="test")
    assert next(iter(half_read)) == 0
    unread.close()
    half_read.close()
    half_read.close()
    assert threading.active_count() == before
    assert list(half_read) == []


def test_nothing_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead"):
        Prefetch([1], ahead=0, name="test")
