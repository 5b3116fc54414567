"""The match module on scenes with a known truth."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.tracker import Detection, Tracker, TrackerConfig
from partstream_core.tracker.snapshot import restored, snapshot

Vector = NDArray[np.float64]


def person(
    x: float,
    y: float = 200,
    *,
    width: float = 60,
    height: float = 160,
    score: float = 0.9,
    looks: Vector | None = None,
) -> Detection:
    """A detection centred on (x, y)."""
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Detection(box, score, looks)


def face(number: int, *, noise: float = 0.0, seed: int = 0, width: int = 64) -> Vector:
    """A unit vector that is all of one person, blurred by noise of that length."""
    vector = np.zeros(width)
    vector[number] = 1
    blur = np.random.default_rng(seed).normal(size=width)
    blurred: Vector = vector + noise * blur / np.linalg.norm(blur)
    return blurred / np.linalg.norm(blurred)


def follow(frames: Sequence[Sequence[Detection]], *, period: float = 1) -> list[tuple[int | None, ...]]:
    """The identities of each frame's detections from a tracker of their own."""
    tracker = Tracker()
    return [tracker.update(frame, elapsed_s=period / 25) for frame in frames]


def test_everybody_on_the_first_frame_is_somebody_at_once() -> None:
    assert follow([[person(100), person(300), person(500)]]) == [(1, 2, 3)]


def test_a_detection_below_the_score_is_nobody() -> None:
    assert follow([[person(100, score=0.49), person(300, score=0.5)]]) == [(None, 1)]


def test_a_later_newcomer_needs_two_sights_and_uses_no_number_before() -> None:
    frames = [[person(100)], [person(100), person(300)], [person(100)], [person(100), person(500)]]
    assert follow([*frames, [person(100), person(500)]])[-2:] == [(1, None), (1, 2)]


def test_a_weak_detection_still_continues_a_track() -> None:
    assert follow([[person(100)], [person(102, score=0.2)], [person(104, score=0.2)]])[1:] == [(1,), (1,)]


def test_streams_share_nothing() -> None:
    first, second = Tracker(), Tracker()
    first.update([person(100), person(400)])
    assert second.update([person(400)]) == (1,)
    assert first.update([person(400)]) == (2,)


@pytest.mark.parametrize("with_looks", [True, False])
def test_people_who_cross_keep_their_identities(with_looks: bool) -> None:
    frames = []
    for t in range(60):
        left = person(100 + 8 * t, looks=face(0, noise=0.5, seed=t) if with_looks else None)
        right = person(580 - 8 * t, 230, looks=face(1, noise=0.5, seed=t + 100) if with_looks else None)
        frames.append([left, right] if t % 2 else [right, left])
    found = follow(frames)
    assert {tuple(ids if t % 2 else ids[::-1]) for t, ids in enumerate(found)} == {(2, 1)}


def test_order_of_detections_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    scene = [[person(100 + 3 * t), person(300 - 2 * t), person(500)] for t in range(20)]
    straight = follow(scene)
    orders = [np.arange(3)] + [rng.permutation(3) for _ in scene[1:]]
    mixed = follow([[frame[i] for i in order] for frame, order in zip(scene, orders, strict=True)])
    assert [tuple(ids[i] for i in order) for ids, order in zip(straight, orders, strict=True)] == mixed


@given(st.integers(0, 2**32 - 1))
def test_the_same_detections_give_the_same_identities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = [
        [person(x, score=score) for x, score in rng.uniform((0, 0.3), (400, 1), (rng.integers(0, 5), 2))]
        for _ in range(12)
    ]
    found = follow(scene)
    assert found == follow(scene)
    for frame in found:
        known = [identity for identity in frame if identity is not None]
        assert len(known) == len(set(known)), "two people of one frame share an identity"


@pytest.mark.parametrize("with_looks", [True, False])
@pytest.mark.parametrize("amplitude", [60, 150])
def test_one_fast_person_keeps_one_identity(with_looks: bool, amplitude: float) -> None:
    """Turns that the constant-velocity model misses, a box that changes shape, and mediocre embeddings."""
    frames = []
    for t in range(250):
        arms = 60 + 90 * (t // 7 % 2)
        x = 400 + amplitude * np.sin(t / 3)
        y = 250 + 40 * abs(np.sin(t / 2))
        looks = face(0, noise=0.9, seed=t) if with_looks else None
        frames.append([person(float(x), float(y), width=arms, looks=looks)])
    assert set(follow(frames)) == {(1,)}


@pytest.mark.parametrize("gap", [1, 5, 9])
def test_a_detector_that_blinks_does_not_make_new_people(gap: int) -> None:
    frames = [[person(100 + 6 * t)] if t % (gap + 5) < 5 else [] for t in range(100)]
    assert set(follow(frames)) == {(1,), ()}


def test_somebody_hidden_for_long_is_known_again_by_looks_where_they_stopped() -> None:
    walk = [[person(100 + 10 * t, looks=face(0, seed=t, noise=0.2))] for t in range(20)]
    hidden: list[list[Detection]] = [[] for _ in range(28)]
    back = [[person(310, looks=face(0, seed=90, noise=0.2))]] * 2
    assert follow([*walk, *hidden, *back])[-2:] == [(1,), (1,)]


def test_somebody_hidden_for_a_while_may_come_back_where_motion_did_not_lead() -> None:
    """Too unlike to be known anywhere, too far for any overlap: the widened gate lets looks speak."""
    still = [[person(500, looks=face(0))] for _ in range(20)]
    hidden: list[list[Detection]] = [[] for _ in range(9)]
    back = [[person(720, looks=face(0, seed=3, noise=1.2))]] * 2
    assert face(0, seed=3, noise=1.2)[0] < 0.75
    assert follow([*still, *hidden, *back])[-2:] == [(1,), (1,)]
    assert follow([*still, *back])[-2:] == [(None,), (2,)], "a leap in one frame is somebody else"


def test_overlap_carries_a_person_whose_looks_turn_into_their_opposite() -> None:
    frames = [[person(100 + 3 * t, looks=face(0) * (-1) ** (t // 10))] for t in range(60)]
    assert set(follow(frames)) == {(1,)}


def test_one_odd_sight_does_not_wipe_out_what_a_person_looks_like() -> None:
    walk = [[person(100, looks=face(0))] for _ in range(20)]
    odd = [[person(100, looks=face(1))]]
    hidden: list[list[Detection]] = [[] for _ in range(15)]
    assert follow([*walk, *odd, *hidden, [person(4000, looks=face(0))]])[-1] == (1,)


def test_a_stranger_in_the_same_place_after_a_long_loss_is_somebody_else() -> None:
    walk = [[person(100 + 10 * t, looks=face(0))] for t in range(20)]
    hidden: list[list[Detection]] = [[] for _ in range(15)]
    stranger = [[person(310, looks=face(1))]] * 2
    assert follow([*walk, *hidden, *stranger])[-2:] == [(None,), (2,)]


def test_a_lost_track_is_forgotten_after_its_time_in_frames_skipped_or_not() -> None:
    looks = face(0)
    for period in (1, 3):
        for missing, identity in ((27, 1), (33, None)):
            tracker = Tracker()
            for _ in range(5):
                tracker.update([person(100, looks=looks)], elapsed_s=period / 25)
            for _ in range(missing // period - 1):
                tracker.update([], elapsed_s=period / 25)
            assert tracker.update([person(100, looks=looks)], elapsed_s=period / 25) == (identity,)


def test_skipped_frames_do_not_break_a_walk() -> None:
    for every in (1, 2, 5, 10):
        frames = [[person(100 + 5 * t), person(900 - 5 * t, 600)] for t in range(0, 100, every)]
        assert set(follow(frames, period=every)) == {(1, 2)}


@pytest.mark.parametrize("elapsed_s", [31 / 25, 2.0, 10.0])
def test_people_keep_their_numbers_when_frames_are_far_apart(elapsed_s: float) -> None:
    frames = [[person(100 + 3 * t, looks=face(0)), person(500, looks=face(1))] for t in range(8)]
    assert set(follow(frames, period=elapsed_s * 25)) == {(1, 2)}


def test_without_looks_a_long_gap_starts_the_stream_anew() -> None:
    tracker = Tracker()
    tracker.update([person(100)])
    assert tracker.update([person(100)], elapsed_s=1.2) == (1,)
    assert tracker.update([person(100)], elapsed_s=1.4) == (2,)


def test_after_a_long_gap_another_person_on_the_same_spot_is_somebody_else() -> None:
    seen = [person(100, looks=face(0)), person(500, looks=face(1))]
    for elapsed_s in (2.0, 30.0, 3600.0):
        tracker = Tracker()
        for _ in range(5):
            tracker.update(seen)
        back = [person(100, looks=face(2)), person(510, looks=face(1, noise=0.4))]
        assert tracker.update(back, elapsed_s=elapsed_s) == (3, 2)


def test_at_a_scene_cut_looks_alone_carry_numbers_and_newcomers_are_confirmed_at_once() -> None:
    tracker = Tracker()
    for _ in range(5):
        tracker.update([person(100 * n, looks=face(n)) for n in range(1, 6)])
    others = [person(100 * n, looks=face(10 + n)) for n in range(1, 6)]
    assert tracker.update(others, scene_cut=True) == (6, 7, 8, 9, 10)
    moved = [person(900, looks=face(2)), person(100, looks=face(11))]
    assert tracker.update(moved, scene_cut=True) == (2, 6)


def test_at_a_scene_cut_without_looks_nobody_keeps_a_number() -> None:
    tracker = Tracker()
    for _ in range(5):
        tracker.update([person(100), person(400)])
    assert tracker.update([person(100), person(400)], scene_cut=True) == (3, 4)
    assert tracker.update([person(101), person(401)]) == (3, 4)


def test_a_person_found_across_a_cut_moves_on_from_there() -> None:
    tracker = Tracker()
    for t in range(10):
        tracker.update([person(100 + 20 * t, looks=face(0))])
    tracker.update([person(700, looks=face(0))], scene_cut=True)
    (track,) = tracker.tracks
    assert track.motion.mean[[0, 4]].tolist() == [700, 0]


def test_times_that_hardly_grow_forget_after_a_number_of_frames() -> None:
    tracker = Tracker()
    tracker.update([person(100, looks=face(0))])
    for _ in range(400):
        tracker.update([], elapsed_s=1e-3)
    assert not tracker.tracks


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.001, 0.04, 0.2, 1.24, 5.0, 1e6]),
            st.booleans(),
            st.lists(
                st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=4, unique_by=lambda one: one[0]
            ),
        ),
        max_size=12,
    ),
    split=st.integers(0, 12),
)
def test_identities_are_unique_and_survive_a_snapshot_over_any_gaps_and_cuts(
    steps: list[tuple[float, bool, list[tuple[int, int]]]], split: int
) -> None:
    straight, resumed = Tracker(), Tracker()
    for number, (elapsed_s, cut, people) in enumerate(steps):
        if number == split:
            resumed = restored(resumed.config, snapshot(resumed, max_bytes=1 << 20))
        detections = [person(100 * place, looks=face(who)) for who, place in people]
        found = straight.update(detections, elapsed_s=elapsed_s, scene_cut=cut)
        named = [identity for identity in found if identity is not None]
        assert len(set(named)) == len(named)
        assert max(named, default=0) <= straight.num_identities
        assert resumed.update(detections, elapsed_s=elapsed_s, scene_cut=cut) == found
        for track in straight.tracks:
            assert np.isfinite(track.motion.mean).all()
            assert np.isfinite(track.motion.covariance).all()


def test_a_track_found_again_takes_its_new_box_mask_and_score() -> None:
    tracker = Tracker()
    old, new = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    for _ in range(9):
        tracker.update([Detection((80, 100, 140, 260), 0.9, face(0), old)])
    for _ in range(20):
        tracker.update([])
    box = (2400.0, 100.0, 2460.0, 260.0)
    assert tracker.update([Detection(box, 0.7, face(0), new)]) == (1,)
    (track,) = tracker.tracks
    assert track.seen.mask is new
    assert track.seen.box_xyxy == box
    assert track.seen.score == 0.7
    assert track.motion.mean[:2].tolist() == [2430, 180], "its filter starts anew where it was found"


def test_two_lost_behind_each_other_are_two_people_when_they_part() -> None:
    front, back = face(0), face(1)
    apart = [[person(100 + 10 * t, looks=front), person(300, looks=back)] for t in range(20)]
    covered = [[person(300, looks=front)] for _ in range(12)]
    parted = [[person(300 + 10 * t, looks=front), person(300, looks=back)] for t in range(1, 8)]
    assert follow([*apart, *covered, *parted])[-1] == (1, 2)


def test_a_younger_lost_double_of_a_seen_person_is_dropped() -> None:
    tracker = Tracker()
    for _ in range(5):
        tracker.update([person(100)])
    for _ in range(3):
        tracker.update([person(100), person(103)])
    for _ in range(3):
        tracker.update([person(100)])
    assert [track.identity for track in tracker.tracks] == [1]


def test_memory_stays_bounded_when_everything_is_new() -> None:
    tracker = Tracker()
    rng = np.random.default_rng(0)
    for t in range(200):
        tracker.update([person(x, 5000 * t) for x in rng.uniform(0, 4000, 5)])
    assert len(tracker.tracks) <= 5 * 31


@pytest.mark.parametrize("period", [0, -1, float("nan")])
def test_a_period_that_does_not_advance_is_refused(period: float) -> None:
    with pytest.raises(ValueError, match="elapsed_s"):
        Tracker().update([], elapsed_s=period / 25)


def test_embeddings_of_two_widths_are_refused() -> None:
    tracker = Tracker()
    tracker.update([person(100, looks=face(0, width=64))])
    with pytest.raises(ValueError, match="width"):
        tracker.update([person(100, looks=face(0, width=32))])


def test_a_detection_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Detection((0, 0, float("nan"), 1), 0.5)
    with pytest.raises(ValueError, match="finite"):
        Detection((0, 0, 1, 1), 0.5, np.array([np.inf]))


@pytest.mark.parametrize(
    "name, value",
    [("motion_gate", -1), ("appearance_weight", 1.5), ("gate_relax", 0), ("max_lost_s", float("nan"))],
)
def test_a_config_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        TrackerConfig(**{name: value})  # type: ignore[arg-type]
