"""Following by looks: templates, tracklets, linking and status."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.follow import (
    FollowConfig,
    GivenSight,
    Sight,
    Status,
    TemplateSet,
    Tracklet,
    TrackletBuilder,
    link_tracklets,
    status_of,
)


def look(angle: float) -> NDArray[np.float32]:
    """An embedding at an angle in degrees: cosines are those of differences."""
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], np.float32)


def tracklet(identity: int, frames: range, angle: float) -> Tracklet:
    return Tracklet(identity, np.array(frames, np.int64), (Sight(frames[0], 0.9, look(angle)),))


def frames_of(tracklets: Sequence[Tracklet]) -> list[int]:
    return sorted(int(frame) for each in tracklets for frame in each.frames_F)


def test_the_similarity_is_that_with_the_nearest_template() -> None:
    templates = TemplateSet()
    assert templates.similarity(look(0)) == -1
    templates.add(look(0) * 7, given=True)
    templates.add(look(60))
    assert templates.similarity(look(50) * 0.1) == pytest.approx(np.cos(np.radians(10)), abs=1e-5)


def test_an_embedding_that_tells_nothing_new_is_not_kept() -> None:
    templates = TemplateSet()
    assert templates.add(look(0))
    assert not templates.add(look(5))
    assert templates.add(look(5), given=True)
    assert len(templates) == 2


def test_a_full_set_drops_the_added_template_that_is_most_like_another_and_keeps_given_ones() -> None:
    templates = TemplateSet(3)
    for angle, given_one in ((0, True), (90, False), (120, False), (200, False)):
        templates.add(look(angle), given=given_one)
    assert len(templates) == 3
    assert templates.similarity(look(0)) == pytest.approx(1)
    assert templates.similarity(look(200)) == pytest.approx(1)
    assert sorted(round(templates.similarity(look(angle)), 2) for angle in (90, 120)) == [0.87, 1]


@pytest.mark.parametrize("embedding", [np.zeros(2, np.float32), np.array([np.nan, 1], np.float32)])
def test_an_embedding_without_direction_is_refused(embedding: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="finite length above zero"):
        TemplateSet().add(embedding)


def test_embeddings_of_another_width_are_refused() -> None:
    templates = TemplateSet()
    templates.add(look(0))
    with pytest.raises(ValueError, match="have 2 numbers, the embedding 3"):
        templates.add(np.ones(3, np.float32), given=True)


def test_an_identity_that_was_away_for_long_begins_another_tracklet() -> None:
    builder = TrackletBuilder(max_gap=2)
    for frame in (0, 1, 4, 5, 9, 10):
        builder.add(7, Sight(frame, 0.9, look(frame)))
    assert [each.frames_F.tolist() for each in builder.tracklets()] == [[0, 1, 4, 5], [9, 10]]
    with pytest.raises(ValueError, match="identity 7 was seen in frame 10 before 10"):
        builder.add(7, Sight(10, 0.9, None))


def test_a_tracklet_keeps_few_looks_which_are_spread_over_its_frames() -> None:
    builder = TrackletBuilder(max_looks=4)
    for frame in range(200):
        builder.add(1, Sight(frame, 0.9, look(frame)))
    (found,) = builder.tracklets()
    assert len(found.frames_F) == 200
    frames = [each.frame for each in found.looks]
    assert 2 <= len(frames) <= 4
    assert frames[0] == 0
    assert len(set(np.diff(frames))) == 1
    assert frames[-1] + np.diff(frames)[0] >= 200


def test_a_target_is_found_again_and_others_are_not() -> None:
    tracklets = [tracklet(1, range(10), 0), tracklet(2, range(10), 90), tracklet(3, range(20, 30), 10)]
    found = link_tracklets(tracklets, {"anna": [GivenSight(3, 1)]})
    assert [each.identity for each in found["anna"].tracklets] == [1, 3]
    assert found["anna"].similarities == pytest.approx((1, np.cos(np.radians(10))), abs=1e-5)


def test_expanded_templates_reach_looks_that_the_given_one_does_not() -> None:
    """Each is 30 degrees (cosine .87) from the one before; 60 degrees (.5) are too far."""
    chain = [tracklet(number, range(10 * number, 10 * number + 5), 30 * number) for number in range(4)]
    found = link_tracklets(chain, {"anna": [GivenSight(0, 0)]})
    assert [each.identity for each in found["anna"].tracklets] == [0, 1, 2, 3]
    assert found["anna"].num_rounds == 3
    alone = FollowConfig(expand_similarity=1, link_similarity=0.8)
    without = link_tracklets(chain, {"anna": [GivenSight(0, 0)]}, alone)
    assert [each.identity for each in without["anna"].tracklets] == [0, 1]


def test_two_people_in_one_frame_are_never_one_target() -> None:
    tracklets = [tracklet(1, range(10), 0), tracklet(2, range(5, 15), 3), tracklet(3, range(12, 20), 6)]
    found = link_tracklets(tracklets, {"anna": [GivenSight(0, 1)]})
    assert [each.identity for each in found["anna"].tracklets] == [1, 3]


def test_a_tracklet_that_is_like_two_targets_is_neither() -> None:
    tracklets = [tracklet(1, range(5), 0), tracklet(2, range(5), 20), tracklet(3, range(9, 12), 10)]
    found = link_tracklets(tracklets, {"anna": [GivenSight(0, 1)], "ben": [GivenSight(0, 2)]})
    assert [len(found[name].tracklets) for name in ("anna", "ben")] == [1, 1]


def test_tracklets_without_looks_are_linked_only_where_they_were_given() -> None:
    blind = Tracklet(5, np.arange(4), ())
    found = link_tracklets([blind, tracklet(1, range(8, 9), 0)], {"anna": [GivenSight(2, 5)]})
    assert [each.identity for each in found["anna"].tracklets] == [5]


def test_a_correction_cuts_the_tracklet_half_way_where_the_tracker_changed_people() -> None:
    """The tracker called two people 1: given as ben at 20, anna's part ends at 10."""
    found = link_tracklets(
        [tracklet(1, range(30), 0)], {"anna": [GivenSight(0, 1)], "ben": [GivenSight(20, 1)]}
    )
    assert frames_of(found["anna"].tracklets) == list(range(11))
    assert frames_of(found["ben"].tracklets) == list(range(11, 30))


def test_a_correction_to_another_person_leaves_the_former_one_half_way() -> None:
    tracklets = [tracklet(1, range(30), 0), tracklet(2, range(30), 90)]
    found = link_tracklets(tracklets, {"anna": [GivenSight(0, 1), GivenSight(20, 2)]})
    pieces = {each.identity: each.frames_F.tolist() for each in found["anna"].tracklets}
    assert pieces == {1: list(range(11)), 2: list(range(11, 30))}


@pytest.mark.parametrize(
    ("sights", "said"),
    [
        ({"anna": [GivenSight(3, 9)]}, "anna: no tracklet of identity 9 has frame 3"),
        ({"anna": [GivenSight(99, 1)]}, "no tracklet of identity 1 has frame 99"),
        (
            {"anna": [GivenSight(3, 1)], "ben": [GivenSight(3, 1)]},
            "anna and ben are the same person in frame 3",
        ),
        ({"anna": [GivenSight(3, 1), GivenSight(3, 2)]}, "anna is two people in frame 3"),
        ({"anna": []}, "anna was named in no frame"),
    ],
)
def test_given_sights_that_contradict_are_refused(sights: dict[str, list[GivenSight]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        link_tracklets([tracklet(1, range(9), 0), tracklet(2, range(9), 90)], sights)


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.floats(0, 45)), min_size=1, max_size=5)


def greedy_by_trying_every_order(tracklets: list[Tracklet], least: float) -> set[int]:
    """Of all orders in which free tracklets can be examined, the one that is descending in similarity."""
    similarity = {
        each.identity: float(look(0) @ each.looks[0].embedding_D)  # type: ignore[operator]
        for each in tracklets[1:]
    }
    for order in permutations(tracklets[1:]):
        values = [similarity[each.identity] for each in order]
        if values != sorted(values, reverse=True):
            continue
        taken = [tracklets[0]]
        for each in order:
            if similarity[each.identity] >= least and not any(each.overlaps(other) for other in taken):
                taken.append(each)
        return {each.identity for each in taken}
    raise AssertionError("some order is descending")


@given(spans=spans)
def test_linking_agrees_with_trying_every_order(spans: list[tuple[int, int, float]]) -> None:
    tracklets = [tracklet(0, range(100, 101), 0)]
    tracklets += [
        tracklet(number, range(first, first + length), angle)
        for number, (first, length, angle) in enumerate(spans, start=1)
    ]
    config = FollowConfig(expand_similarity=1.0, link_similarity=0.8, max_rounds=1)
    free = [each for each in tracklets[1:] if float(look(0) @ each.looks[0].embedding_D) < 1 - 1e-6]  # type: ignore[operator]
    found = link_tracklets([tracklets[0], *free], {"anna": [GivenSight(100, 0)]}, config)
    expected = greedy_by_trying_every_order([tracklets[0], *free], 0.8)
    got = {each.identity for each in found["anna"].tracklets}
    ties = len({round(float(look(0) @ each.looks[0].embedding_D), 6) for each in free}) < len(free)  # type: ignore[operator]
    assert ties or got == expected


@given(
    angles=st.lists(st.floats(0, 360), min_size=1, max_size=12),
    least=st.floats(0.2, 0.99),
)
def test_expansion_ends_and_links_each_tracklet_at_most_once(angles: list[float], least: float) -> None:
    tracklets = [
        tracklet(number, range(3 * number, 3 * number + 4), angle) for number, angle in enumerate(angles)
    ]
    given_sights = {"anna": [GivenSight(0, 0)]}
    if len(angles) > 2:
        given_sights["ben"] = [GivenSight(6, 2)]
    config = FollowConfig(expand_similarity=least, link_similarity=least, max_rounds=100)
    found = link_tracklets(tracklets, given_sights, config)
    assert found["anna"].num_rounds <= len(angles)
    linked = [each.identity for target in found.values() for each in target.tracklets]
    assert len(linked) == len(set(linked))
    for target in found.values():
        frames = frames_of(target.tracklets)
        assert len(frames) == len(set(frames))


@pytest.mark.parametrize(
    "wrong", [{"link_similarity": 0.9}, {"expand_similarity": 1.5}, {"max_rounds": 0}, {"margin": -0.1}]
)
def test_thresholds_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FollowConfig(**wrong)  # type: ignore[arg-type]


INSIDE, AT_THE_LEFT = (40.0, 20.0, 60.0, 100.0), (1.0, 20.0, 30.0, 100.0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (INSIDE, INSIDE, Status.HIDDEN),
        (INSIDE, None, Status.GONE),
        (None, INSIDE, Status.GONE),
        (AT_THE_LEFT, INSIDE, Status.GONE),
        (INSIDE, AT_THE_LEFT, Status.GONE),
        ((40.0, 20.0, 60.0, 120.0), INSIDE, Status.HIDDEN),
    ],
)
def test_a_target_is_hidden_between_sights_inside_the_picture(
    before: tuple[float, float, float, float] | None,
    after: tuple[float, float, float, float] | None,
    expected: Status,
) -> None:
    assert status_of(before, after, width=100, height=120) is expected
