"""A tracker that goes on from a snapshot says the same as one that was never stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_core.tracker import Detection, Tracker, TrackerConfig
from partstream_core.tracker.snapshot import restored, snapshot

CONFIG = TrackerConfig()
PLENTY = 100_000


def walker(number: int, frame: int, *, looks: bool, width: int = 64) -> Detection:
    """Person `number` of a row of walkers, at a frame."""
    x, y = 100.0 + 150 * number + 4 * frame, 200.0 + 2 * frame
    vector = np.random.default_rng(number).normal(size=width) if looks else None
    return Detection((x - 30, y - 80, x + 30, y + 80), 0.9, vector)


def scene(frame: int, *, num_people: int = 4, looks: bool = True) -> list[Detection]:
    return [walker(number, frame, looks=looks) for number in range(num_people)]


@settings(deadline=None)
@given(stop=st.integers(1, 12), looks=st.booleans(), num_people=st.integers(0, 6))
def test_identities_after_a_restart_are_those_without_one(stop: int, looks: bool, num_people: int) -> None:
    straight, tracker = Tracker(CONFIG), Tracker(CONFIG)
    for frame in range(15):
        if frame == stop:
            tracker = restored(CONFIG, snapshot(tracker, max_bytes=PLENTY))
        people = scene(frame, num_people=num_people, looks=looks)
        # Every other frame somebody is hidden, so that lost and unconfirmed tracks travel too.
        people = people[frame % 2 :]
        assert tracker.update(people) == straight.update(people)


def test_a_newcomer_after_a_restart_gets_a_number_nobody_had() -> None:
    tracker = Tracker(CONFIG)
    tracker.update(scene(0))
    again = restored(CONFIG, snapshot(tracker, max_bytes=PLENTY))
    for frame in (1, 2):
        found = again.update([*scene(frame), walker(9, frame, looks=True)])
    assert found == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("max_bytes", [17, 400, 1000, 2000, 32_000])
def test_a_snapshot_keeps_within_its_bytes_and_those_seen_last(max_bytes: int) -> None:
    tracker = Tracker(CONFIG)
    tracker.update(scene(0, num_people=100))
    tracker.update(scene(1, num_people=3))
    data = snapshot(tracker, max_bytes=max_bytes)
    assert len(data) <= max_bytes
    kept = restored(CONFIG, data).tracks
    assert [track.identity for track in kept[:3]] == [1, 2, 3][: len(kept)]
    assert len(kept) < 100


def test_thirty_two_kilobytes_hold_a_crowd() -> None:
    tracker = Tracker(CONFIG)
    tracker.update(scene(0, num_people=80))
    assert len(restored(CONFIG, snapshot(tracker, max_bytes=32_000)).tracks) == 80


def test_a_pause_ages_tracks_and_forgets_nobody() -> None:
    tracker = Tracker(CONFIG)
    tracker.update(scene(0))
    again = restored(CONFIG, snapshot(tracker, max_bytes=PLENTY))
    assert again.update(scene(1), elapsed_s=600) == (1, 2, 3, 4)


@pytest.mark.parametrize("damage", ["cut", "grown", "empty", "form"])
def test_damaged_bytes_are_refused(damage: str) -> None:
    tracker = Tracker(CONFIG)
    tracker.update(scene(0))
    data = snapshot(tracker, max_bytes=PLENTY)
    wrong = {"cut": data[:-1], "grown": data + b"x", "empty": b"", "form": b"\xff" + data[1:]}[damage]
    with pytest.raises(ValueError, match="snapshot"):
        restored(CONFIG, wrong)
