"""Graphs of people, their distance and its minimum, against loops over the equations."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_core.joints import NUM_JOINTS
from partstream_models.selfsupervised.gbsr import (
    GBSRConfig,
    PosedFrame,
    link_people,
    refine_clip,
    refine_person,
    swap_sides,
)
from partstream_models.selfsupervised.graphs import (
    FeatureMap,
    HumanGraph,
    build_graph,
    crop_side,
    describe,
    graph_distance,
    skeleton_connections,
)
from partstream_models.selfsupervised.matching import equal_joints, minimise_distance, visibility_scores

STANDING = np.array(
    [[60, 20], [64, 17], [56, 17], [68, 20], [52, 20], [76, 40], [44, 40], [82, 62], [38, 62], [84, 82],
     [36, 82], [70, 84], [50, 84], [71, 112], [49, 112], [72, 140], [48, 140]], np.float32,
)  # fmt: skip


def standing(dx: float = 0.0, score: float = 0.9) -> np.ndarray:
    """Joints of a person who stands, moved to the right, [J, 3]."""
    joints = np.concatenate([STANDING, np.full((NUM_JOINTS, 1), score, np.float32)], axis=1)
    joints[:, 0] += dx
    return joints.astype(np.float32)


def picture(dx: float = 0.0, *, seed: int = 3) -> np.ndarray:
    """A disc of its own colour at each joint of that person, RGB, [160, 120, 3]."""
    colours = np.random.default_rng(seed).integers(40, 256, (NUM_JOINTS, 3))
    y, x = np.indices((160, 120))
    image = np.zeros((160, 120, 3), np.uint8)
    for (jx, jy, _), colour in zip(standing(dx), colours, strict=True):
        image[np.hypot(x - jx, y - jy) < 7] = colour
    return image


def maps_of(image: np.ndarray) -> tuple[FeatureMap, ...]:
    return (FeatureMap(image.astype(np.float32) / np.float32(255), 1.0),)


def small_graph(rng: np.random.Generator, size: int) -> HumanGraph:
    connections = np.triu(rng.integers(0, 2, (size, size)), 1)
    return HumanGraph(
        np.concatenate([rng.random((size, 2)), np.ones((size, 1))], axis=1).astype(np.float32),
        rng.random((size, 4)).astype(np.float32),
        (connections + connections.T).astype(np.float32),
        np.ones(size, np.float32),
    )


def plain_graph(joints: np.ndarray, looks: np.ndarray) -> HumanGraph:
    """A graph whose joints look so and are all connected as the skeleton is."""
    connections = skeleton_connections(np.ones(NUM_JOINTS, bool))
    return HumanGraph(joints, looks, connections, np.ones(NUM_JOINTS, np.float32))


def looped_distance(graph: HumanGraph, other: HumanGraph, v: np.ndarray, alpha: float) -> float:
    """Eqs. 1-3, term by term."""
    size = len(v)
    first = second = 0.0
    for m in range(size):
        for o in range(size):
            d = 0.0
            for c in range(graph.appearance_JC.shape[1]):
                d += abs(float(graph.appearance_JC[m, c]) - float(other.appearance_JC[o, c]))
            first += v[m, o] * d
            inner = 0.0
            for n in range(size):
                for p in range(size):
                    inner += v[n, p] * abs(
                        float(graph.connections_JJ[m, n]) - float(other.connections_JJ[o, p])
                    )
            second += v[m, o] * inner
    return (1 - alpha) * first + alpha * second


@given(seed=st.integers(0, 10_000), size=st.integers(1, 5), alpha=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_distance_is_that_of_equations_1_to_3(seed: int, size: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    graph, other, v = small_graph(rng, size), small_graph(rng, size), rng.random((size, size))
    expected = looped_distance(graph, other, v, alpha)
    assert graph_distance(graph, other, v, alpha=alpha) == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_minimum_lies_between_that_of_all_matchings_and_that_of_equal_joints(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 4
    graph, other = small_graph(rng, size), small_graph(rng, size)
    graph.joints_J3[rng.integers(size), 2] = 0
    visible = np.flatnonzero(graph.joints_J3[:, 2] > 0.5)
    every = []
    for columns in combinations(range(size), len(visible)):
        for order in permutations(columns):
            v = np.zeros((size, size))
            v[visible, list(order)] = 1
            every.append(looped_distance(graph, other, v, 0.5))
    found = minimise_distance(graph, other, least_score=0.5)
    assert found.sum() == len(visible) and set(np.unique(found)) <= {0.0, 1.0}
    assert found.sum(axis=0).max() <= 1 and found[graph.joints_J3[:, 2] < 0.5].sum() == 0
    value = graph_distance(graph, other, found)
    start = equal_joints(graph.joints_J3[:, 2] > 0.5, np.ones(size, bool))
    assert min(every) - 1e-6 <= value <= graph_distance(graph, other, start) + 1e-6


def test_joints_that_look_alike_are_matched_across_names() -> None:
    rng = np.random.default_rng(0)
    looks = rng.random((NUM_JOINTS, 8)).astype(np.float32)
    order = np.arange(NUM_JOINTS)
    order[[5, 6, 7, 8, 9, 10]] = [6, 5, 8, 7, 10, 9]  # arms exchanged: the structure stays the same
    order[[11, 12]] = [12, 11]
    order[[13, 14, 15, 16]] = [14, 13, 16, 15]
    joints = standing()
    graph, other = plain_graph(joints, looks), plain_graph(joints, looks[order])
    found = minimise_distance(graph, other, least_score=0.3)
    assert found.argmax(axis=1).tolist() == np.argsort(order).tolist()


def test_the_visibility_score_is_high_only_where_both_joints_are_visible() -> None:
    rng = np.random.default_rng(1)
    looks = rng.random((NUM_JOINTS, 8)).astype(np.float32)
    seen, hidden = standing(), standing()
    hidden[9, 2] = 0.0
    graph, other = plain_graph(seen, looks), plain_graph(hidden, looks)
    scores = visibility_scores(graph, other, minimise_distance(graph, other, least_score=0.3))
    assert scores[9] == 0
    assert np.allclose(np.delete(scores, 9), 0.9)


def test_a_connection_needs_two_visible_joints() -> None:
    visible = np.ones(NUM_JOINTS, bool)
    whole = skeleton_connections(visible)
    visible[7] = False
    assert np.array_equal(whole, whole.T) and whole.sum() == 32
    assert skeleton_connections(visible)[7].sum() == 0
    assert whole.sum() - skeleton_connections(visible).sum() == 4  # two bones, each way


def test_a_box_is_twice_as_long_as_neck_and_nose_are_apart() -> None:
    assert crop_side(standing(), least_score=0.3) == pytest.approx(40)
    headless = standing()
    headless[0, 2] = 0
    assert crop_side(headless, least_score=0.3) == pytest.approx((140 - 17) / 4)


def test_appearance_is_read_between_the_cells_of_a_map() -> None:
    values = np.arange(8 * 8 * 6, dtype=np.float32).reshape(8, 8, 6)
    x, y, side, stride = 11.0, 14.0, 5.0, 4.0
    found = describe(
        (FeatureMap(values, stride),), np.array([[x, y]], np.float32), np.array([side], np.float32)
    )
    expected = []
    for row in range(5):
        for column in range(5):
            cx = (x + side * ((column + 0.5) / 5 - 0.5)) / stride
            cy = (y + side * ((row + 0.5) / 5 - 0.5)) / stride
            left, top = int(cx), int(cy)
            right, low = cx - left, cy - top
            above = values[top, left] * (1 - right) + values[top, left + 1] * right
            below = values[top + 1, left] * (1 - right) + values[top + 1, left + 1] * right
            expected.append(above * (1 - low) + below * low)
    expected_C = np.concatenate(expected) / 6
    assert np.allclose(found[0], expected_C, atol=0.3)  # OpenCV reads at 32nds of a cell


def test_a_joint_that_one_frame_of_three_hides_is_recovered() -> None:
    joints = standing(2)
    joints[9] = (0, 0, 0.05)
    image = picture(2)
    image[70:95, 74:100] = 128  # something before the wrist
    found = refine_person(
        standing(0),
        joints,
        standing(4),
        (maps_of(picture(0)), maps_of(image), maps_of(picture(4))),
        GBSRConfig(),
    )
    assert np.linalg.norm(found[9, :2] - standing(2)[9, :2]) < 3
    assert found[9, 2] == pytest.approx(0.9)
    assert np.array_equal(np.delete(found, 9, axis=0), np.delete(joints, 9, axis=0))


def test_a_joint_that_is_misplaced_moves_to_where_it_looks_as_before() -> None:
    joints = standing(6)
    joints[13, :2] += (16, -14)
    maps = tuple(maps_of(picture(dx)) for dx in (0, 6, 16))  # the middle of the outer frames is at 8
    found = refine_person(standing(0), joints, standing(16), (maps[0], maps[1], maps[2]), GBSRConfig())
    assert np.linalg.norm(found[13, :2] - standing(6)[13, :2]) < 5


def test_sides_that_are_exchanged_in_one_frame_are_put_right() -> None:
    joints = standing(2)
    joints[[9, 10]] = joints[[10, 9]]
    around = (standing(0), standing(4))
    crossed = np.eye(NUM_JOINTS)
    crossed[[9, 10]] = crossed[[10, 9]]
    put_right = swap_sides(joints, around, (crossed, crossed), least_score=0.3)
    assert np.array_equal(put_right, standing(2))
    one_only = swap_sides(joints, around, (crossed, np.eye(NUM_JOINTS)), least_score=0.3)
    assert np.array_equal(one_only, joints)
    already = swap_sides(standing(2), around, (crossed, crossed), least_score=0.3)
    assert np.array_equal(already, standing(2))


def test_a_person_who_is_missing_from_one_frame_is_added() -> None:
    frames = [
        PosedFrame(standing(0)[None], maps_of(picture(0))),
        PosedFrame(np.zeros((0, NUM_JOINTS, 3), np.float32), maps_of(picture(2))),
        PosedFrame(standing(4)[None], maps_of(picture(4))),
    ]
    refined = refine_clip(frames)
    assert [len(people) for people in refined] == [1, 1, 1]
    assert np.allclose(refined[1][0], standing(2))


def test_people_are_linked_by_their_joints_and_strangers_are_not() -> None:
    people = np.stack([standing(0), standing(50)])
    others = np.stack([standing(52), standing(3), standing(400)])
    assert link_people(people, others, GBSRConfig()) == [(0, 1), (1, 0)]
    assert refine_clip([]) == []


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match="17 joints"):
        build_graph(np.zeros((16, 3), np.float32), maps_of(picture()), least_score=0.3)
    graph = build_graph(standing(), maps_of(picture()), least_score=0.3)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        graph_distance(graph, graph, np.full((NUM_JOINTS, NUM_JOINTS), 2.0))
    with pytest.raises(ValueError, match="num_rounds"):
        GBSRConfig(num_rounds=-1)
    with pytest.raises(ValueError, match="alpha"):
        GBSRConfig(alpha=1.5)
