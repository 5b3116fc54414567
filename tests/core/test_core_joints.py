"""Joints decoded from maps, against loops over every cell, and what their names promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.joints import (
    FLIP_PAIRS,
    FLIPPED,
    JOINTS,
    NUM_JOINTS,
    SKELETON,
    JointMaps,
    center_cells,
    decode_joints,
    joints_at,
)

Floats = NDArray[np.float32]
Masks = NDArray[np.bool_]

sides = st.integers(1, 34)
seeds = st.integers(0, 2**32 - 1)


def random_maps(seed: int, *, height: int, width: int, spread: float = 6) -> JointMaps:
    rng = np.random.default_rng(seed)
    heat = rng.random((NUM_JOINTS, height, width), np.float32) ** 4
    heat[rng.random(NUM_JOINTS) < 0.2] = 0
    return JointMaps(
        rng.random((height, width), np.float32),
        heat,
        rng.normal(0, spread, (2 * NUM_JOINTS, height, width)).astype(np.float32),
        rng.random((2 * NUM_JOINTS, height, width), np.float32),
    )


def random_masks(seed: int, *, height: int, width: int) -> Masks:
    rng = np.random.default_rng(seed + 1)
    masks = rng.random((rng.integers(0, 4), height, width)) < 0.3
    masks[:, rng.integers(height), rng.integers(width)] = True
    return masks


def reach_of(guesses: Floats) -> float:
    extent = max(float(np.ptp(guesses[:, 0])), float(np.ptp(guesses[:, 1])))
    return min(max(0.2 * extent, 4.0), 12.0)


def check_joint(maps: JointMaps, joint: int, guess: Floats, reach: float, found: Floats) -> None:
    """The joint is in the best cell in reach, by a loop over all cells, or at its guess if there is none."""
    rated = {}
    for row, column in np.ndindex(maps.centers_hw.shape):
        distance = float(np.hypot(row - guess[0], column - guess[1]))
        if distance <= reach + 1e-3:
            sure = distance <= reach - 1e-3
            rated[row, column] = (float(maps.heatmaps_Jhw[joint, row, column]) / (distance + 1.8), sure)
    best = max((rating for rating, sure in rated.values() if sure), default=0.0)
    offsets = maps.offsets_2Jhw[2 * joint : 2 * joint + 2]
    at = [
        cell
        for cell in rated
        if np.allclose(found[:2], [cell[1] + offsets[1][cell], cell[0] + offsets[0][cell]], atol=1e-4)
    ]
    if not at:
        assert best == 0
        np.testing.assert_allclose(found, [guess[1], guess[0], 0], atol=1e-4)
        return
    assert any(rated[cell][0] >= best - 1e-6 for cell in at)
    assert any(found[2] == maps.heatmaps_Jhw[joint][cell] for cell in at)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, height=sides, width=sides, spread=st.sampled_from([0.5, 6, 40]))
def test_each_joint_is_in_the_best_cell_in_reach(seed: int, height: int, width: int, spread: float) -> None:
    maps = random_maps(seed, height=height, width=width, spread=spread)
    masks = random_masks(seed, height=height, width=width)
    found_RJ3 = decode_joints(maps, masks)
    assert found_RJ3.shape == (len(masks), NUM_JOINTS, 3)
    for mask, found_J3 in zip(masks, found_RJ3, strict=True):
        values = np.where(mask, maps.centers_hw, -1)
        row, column = (int(index) for index in np.unravel_index(values.argmax(), values.shape))
        guesses = maps.regression_2Jhw[:, row, column].reshape(NUM_JOINTS, 2) + np.array([row, column])
        for joint in range(NUM_JOINTS):
            check_joint(maps, joint, guesses[joint], reach_of(guesses), found_J3[joint])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, height=sides, width=sides)
def test_people_do_not_change_each_others_joints(seed: int, height: int, width: int) -> None:
    maps = random_maps(seed, height=height, width=width)
    masks = random_masks(seed, height=height, width=width)
    together = decode_joints(maps, masks)
    alone = [decode_joints(maps, mask[None])[0] for mask in masks]
    np.testing.assert_array_equal(together, np.array(alone).reshape(together.shape))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, height=sides, width=sides)
def test_a_mirrored_picture_has_the_other_sides_joints(seed: int, height: int, width: int) -> None:
    maps = random_maps(seed, height=height, width=width)
    masks = random_masks(seed, height=height, width=width)
    pairs_JC = np.arange(2 * NUM_JOINTS).reshape(NUM_JOINTS, 2)[list(FLIPPED)].ravel()
    sign_C11 = np.tile([1, -1], NUM_JOINTS)[:, None, None].astype(np.float32)
    offsets = maps.offsets_2Jhw[pairs_JC, :, ::-1]
    mirrored = JointMaps(
        maps.centers_hw[:, ::-1],
        maps.heatmaps_Jhw[list(FLIPPED), :, ::-1],
        maps.regression_2Jhw[pairs_JC, :, ::-1] * sign_C11,
        np.where(sign_C11 > 0, offsets, 1 - offsets),
    )
    expected = decode_joints(maps, masks)[:, list(FLIPPED)]
    scores = expected[..., 2]
    found = decode_joints(mirrored, masks[..., ::-1])
    np.testing.assert_allclose(found[..., 2], scores, atol=1e-6)
    # guesses are told from where a cell begins, which is its other end in the mirror
    expected[..., 0] = np.where(scores > 0, width - expected[..., 0], width - 1 - expected[..., 0])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_person_without_any_center_is_looked_for_in_their_own_cells() -> None:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 2, 3] = masks[1, 1:3, 5] = True
    np.testing.assert_array_equal(center_cells(np.zeros((4, 6), np.float32), masks), [[2, 3], [1, 5]])


def test_a_hidden_joint_is_not_somebody_elses() -> None:
    """The guess says where it would be; the only wrist in sight is another person's, far away."""
    maps = random_maps(0, height=40, width=60)
    wrist = JOINTS.index("left_wrist")
    maps.heatmaps_Jhw[wrist] = 0.01
    maps.heatmaps_Jhw[wrist, 20, 50] = 0.95
    maps.regression_2Jhw[:, 20, 10] = 0
    (found_J3,) = joints_at(maps, np.array([[20, 10]]))
    assert abs(found_J3[wrist, 0] - 10.5) <= 0.5
    assert found_J3[wrist, 2] == pytest.approx(0.01)


def test_a_joint_outside_the_frame_stays_where_it_is_guessed_with_no_score() -> None:
    maps = random_maps(0, height=20, width=30)
    maps.regression_2Jhw[:] = 0
    ankle = JOINTS.index("right_ankle")
    maps.regression_2Jhw[2 * ankle] = 35
    (found_J3,) = joints_at(maps, np.array([[10, 15]]))
    np.testing.assert_array_equal(found_J3[ankle], [15, 45, 0])


def test_maps_of_other_sizes_are_refused() -> None:
    maps = random_maps(0, height=4, width=5)
    with pytest.raises(ValueError, match=r"\[17, h, w\]"):
        JointMaps(maps.centers_hw, maps.heatmaps_Jhw[:16], maps.regression_2Jhw, maps.offsets_2Jhw)
    with pytest.raises(ValueError, match="masks must be"):
        decode_joints(maps, np.ones((1, 4, 4), bool))


def test_left_and_right_change_places_and_the_skeleton_stays() -> None:
    for left, right in FLIP_PAIRS:
        assert JOINTS[left].replace("left", "right") == JOINTS[right]
        assert (FLIPPED[left], FLIPPED[right]) == (right, left)
    assert [at for at in range(NUM_JOINTS) if FLIPPED[at] == at] == [JOINTS.index("nose")]
    bones = {frozenset(bone) for bone in SKELETON}
    assert {frozenset(FLIPPED[end] for end in bone) for bone in bones} == bones
    assert {end for bone in bones for end in bone} == set(range(NUM_JOINTS))
