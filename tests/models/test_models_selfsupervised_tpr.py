"""Temporal Parsing Refinement against loops over the equations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_models.selfsupervised.flow_refinement import (
    SearchConfig,
    estimate_flow,
    refine_flow,
    unreliable,
)
from partstream_models.selfsupervised.tpr import (
    Refined,
    TPRConfig,
    integrate_flow,
    propagate_mask,
    refine_clip,
    sum_window,
)


def bilinear(values: np.ndarray, x: float, y: float) -> np.ndarray:
    """Values [C, H, W] at a place; zeros outside."""
    total = np.zeros(len(values))
    left, top = int(np.floor(x)), int(np.floor(y))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < values.shape[1] and 0 <= column < values.shape[2]:
                total += values[:, row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total


def test_the_sum_is_that_of_equation_5() -> None:
    rng = np.random.default_rng(0)
    before, current, after = rng.normal(size=(3, 4, 6, 7)).astype(np.float32)
    u_t, u_next = rng.normal(0, 2, (2, 6, 7, 2)).astype(np.float32)
    expected = np.empty_like(current)
    for y in range(6):
        for x in range(7):
            ahead = bilinear(after, x + u_next[y, x, 0], y + u_next[y, x, 1])
            behind = bilinear(before, x - u_t[y, x, 0], y - u_t[y, x, 1])
            expected[:, y, x] = current[:, y, x] + ahead + behind
    found = sum_window(
        torch.from_numpy(current),
        before=(torch.from_numpy(before), u_t),
        after=(torch.from_numpy(after), u_next),
    )
    assert np.allclose(found.numpy(), expected, atol=1e-4)
    assert torch.equal(sum_window(torch.from_numpy(current)), torch.from_numpy(current))


def test_flow_through_many_frames_follows_the_way() -> None:
    rng = np.random.default_rng(1)
    flows = rng.integers(-1, 2, (4, 9, 11, 2)).astype(np.float32)
    found = integrate_flow(list(flows))
    for y in range(9):
        for x in range(11):
            at = np.array([x, y])
            for flow in flows:
                row, column = np.clip(at[1], 0, 8), np.clip(at[0], 0, 10)
                at = at + flow[row, column].astype(int)
            assert found[y, x].tolist() == (at - (x, y)).tolist()


def test_a_mask_moved_step_by_step_is_the_mask_moved_at_once() -> None:
    mask = np.zeros((12, 14), np.float32)
    mask[5:8, 6:10] = 1
    steps = [np.tile(np.array(step, np.float32), (12, 14, 1)) for step in ((1, 0), (2, -1), (-1, 2))]
    at_once = propagate_mask(mask, steps)  # Eq. 6 with Eqs. 7 and 8
    step_by_step = mask
    for step in reversed(steps):  # Eq. 9
        step_by_step = propagate_mask(step_by_step, [step])
    assert np.allclose(at_once, step_by_step, atol=1e-4)
    assert at_once.sum() == pytest.approx(mask.sum(), abs=1e-3) and at_once[4, 4] == pytest.approx(1)


def test_vectors_into_another_label_or_out_of_the_picture_are_unreliable() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[:, 2] = 1
    other = np.roll(labels, 1, axis=1)
    flow = np.zeros((4, 6, 2), np.float32)
    flow[:, 2, 0] = 1
    expected = np.zeros((4, 6), bool)
    expected[:, 3] = True  # background that stands still is covered
    assert np.array_equal(unreliable(flow, labels, other), expected)
    flow[0, 5, 0] = 1
    expected[0, 5] = True
    assert np.array_equal(unreliable(flow, labels, other), expected)


def test_the_search_finds_what_trying_every_place_finds() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
    other = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
    labels = (np.zeros((10, 12), np.uint8), np.ones((10, 12), np.uint8))  # all vectors are unreliable
    flow = rng.integers(-2, 3, (10, 12, 2)).astype(np.float32)
    found = refine_flow(flow, (image, other), labels, SearchConfig(radius=1, patch_radius=1))
    for y in range(10):
        for x in range(12):
            best = (np.inf, 0, (0, 0))
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    u, v = int(flow[y, x, 0]) + dx, int(flow[y, x, 1]) + dy
                    if not (0 <= x + u < 12 and 0 <= y + v < 10):
                        continue
                    error = 0.0
                    for k in (-1, 0, 1):
                        for i in (-1, 0, 1):
                            row, column = np.clip(y + k, 0, 9), np.clip(x + i, 0, 11)
                            there = other[np.clip(row + v, 0, 9), np.clip(column + u, 0, 11)]
                            error += np.abs(image[row, column].astype(int) - there).mean() / 9
                    best = min(best, (round(error, 3), dx * dx + dy * dy, (dx, dy)))
            step = best[2] if best[0] < np.inf else (0, 0)
            assert found[y, x].tolist() == [flow[y, x, 0] + step[0], flow[y, x, 1] + step[1]]


def test_reliable_vectors_stay() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    labels = np.zeros((8, 8), np.uint8)
    flow = np.zeros((8, 8, 2), np.float32)
    assert np.array_equal(refine_flow(flow, (image, image[::-1].copy()), (labels, labels)), flow)


class Constant:
    """Gives fixed activations of each frame, and remembers what it is taught."""

    def __init__(self, activations: Tensor) -> None:
        self._activations = activations
        self.taught: list[np.ndarray] = []

    def activations(self, images_THWC: np.ndarray) -> Tensor:
        assert len(images_THWC) == len(self._activations)
        return self._activations

    def fine_tune(self, images_THWC: np.ndarray, labels_THW: np.ndarray) -> None:
        self.taught.append(labels_THW)
        assert len(images_THWC) == len(labels_THW)


def still(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    assert image.shape == other.shape
    return np.zeros((*image.shape[:2], 2), np.float32)


def test_a_frame_that_fails_is_outvoted_by_its_neighbours() -> None:
    activations = torch.zeros(3, 2, 4, 4)
    activations[:, 1, 1:3, 1:3] = 4.0  # a person
    activations[:, 0] += 1.0
    activations[1, 1] = 0.0  # whom the middle frame misses
    images = np.full((3, 4, 4, 3), 90, np.uint8)
    person = np.zeros((4, 4), np.uint8)
    person[1:3, 1:3] = 1
    for window, seen in ((3, person), (2, person)):
        seg = Constant(activations)
        refined = refine_clip(images, seg, TPRConfig(num_rounds=2, window=window), flow_of=still)
        assert np.array_equal(refined.labels_THW[1], seen)
        assert len(seg.taught) == 2 and np.array_equal(seg.taught[0], refined.labels_THW)
    none = refine_clip(images, Constant(activations), TPRConfig(num_rounds=0), flow_of=still)
    assert torch.equal(none.activations_TCHW, activations)


def test_rounds_are_reported_in_order() -> None:
    rounds: list[tuple[int, Refined]] = []
    images = np.full((2, 4, 4, 3), 90, np.uint8)
    refine_clip(
        images,
        Constant(torch.zeros(2, 2, 4, 4)),
        TPRConfig(num_rounds=3),
        flow_of=still,
        after_round=lambda number, refined: rounds.append((number, refined)),
    )
    assert [number for number, _ in rounds] == [1, 2, 3]


def test_initial_flow_follows_a_picture_that_moves() -> None:
    rng = np.random.default_rng(4)
    large = np.kron(rng.integers(0, 256, (20, 24, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    flow = estimate_flow(large[8:136, 8:168], large[8:136, 5:165])
    assert np.abs(np.median(flow[20:-20, 20:-20], axis=(0, 1)) - (3, 0)).max() < 0.5


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        refine_clip(np.zeros((1, 4, 4, 3), np.uint8), Constant(torch.zeros(1, 2, 4, 4)))
    with pytest.raises(ValueError, match="window"):
        TPRConfig(window=4)
    with pytest.raises(ValueError, match="num_rounds"):
        TPRConfig(num_rounds=-1)
    with pytest.raises(ValueError, match="radii"):
        SearchConfig(radius=-1)
    with pytest.raises(ValueError, match="shapes differ"):
        unreliable(np.zeros((3, 4, 2), np.float32), np.zeros((3, 5), np.uint8), np.zeros((3, 5), np.uint8))
    with pytest.raises(ValueError, match="no flow"):
        integrate_flow([])
