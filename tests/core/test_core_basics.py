"""Labels, errors, boxes, suppression, schedule and inner center."""

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from partstream_core.boxes import area, box_of_mask, clip, iou_matrix
from partstream_core.errors import BundleError, PartstreamError
from partstream_core.labels import FLIP_PAIRS, NUM_PARTS, PALETTE, PARTS, flip_labels
from partstream_core.nms import non_maximum_suppression
from partstream_core.schedule import KeyFrameScheduler, ScheduleConfig, ScheduleMode
from partstream_models.data.inner_center import edge_points, inner_center

Array = NDArray[np.float64]
integer_boxes = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda box: (min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3]))
)
box_lists = st.lists(integer_boxes, max_size=8).map(lambda boxes: np.array(boxes, np.float64).reshape(-1, 4))
masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def pixels(box: Array) -> set[tuple[int, int]]:
    """The pixels that a box of whole numbers covers."""
    x1, y1, x2, y2 = box.astype(int)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def all_subclasses(kind: type[PartstreamError]) -> Iterator[type[PartstreamError]]:
    """A class and everything below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from all_subclasses(below)


def test_left_and_right_are_named_in_pairs() -> None:
    assert len(PARTS) == NUM_PARTS == len(set(PARTS)) == 20
    for left, right in FLIP_PAIRS:
        assert PARTS[left].replace("left", "right") == PARTS[right]
    paired = {label for pair in FLIP_PAIRS for label in pair}
    assert paired == {at for at, name in enumerate(PARTS) if name.startswith(("left", "right"))}


def test_colours_tell_all_parts_and_void_apart() -> None:
    colours = {tuple(PALETTE[label]) for label in (*range(NUM_PARTS), 255)}
    assert len(colours) == NUM_PARTS + 1
    assert tuple(PALETTE[0]) == (0, 0, 0)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_mirroring_a_label_map_twice_gives_it_back(labels: NDArray[np.uint8]) -> None:
    assert np.array_equal(flip_labels(flip_labels(labels)), labels)


def test_a_mirrored_left_arm_is_a_right_arm_on_the_other_side() -> None:
    left, right = PARTS.index("left-arm"), PARTS.index("right-arm")
    assert flip_labels(np.array([[left, 0, 255]], np.uint8)).tolist() == [[255, 0, right]]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [
        kind.code for kind in all_subclasses(PartstreamError) if kind.__module__ == "partstream_core.errors"
    ]
    assert len(codes) == len(set(codes)) > 10
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_a_bundle_error_names_its_field_and_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BundleError("graphs.heads", "is missing")))  # noqa: S301 - our own bytes
    assert (error.field, error.message, str(error)) == (
        "graphs.heads",
        "is missing",
        "graphs.heads: is missing",
    )


@given(box_lists, box_lists)
def test_iou_agrees_with_counting_pixels(a: Array, b: Array) -> None:
    found = iou_matrix(a, b)
    assert found.shape == (len(a), len(b))
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            union = pixels(first) | pixels(second)
            expected = len(pixels(first) & pixels(second)) / len(union) if union else 0
            assert found[i, j] == pytest.approx(expected)
    assert area(a).tolist() == [len(pixels(box)) for box in a]


@given(masks)
def test_the_box_of_a_mask_holds_it_and_no_smaller_one_does(mask: NDArray[np.bool_]) -> None:
    box = box_of_mask(mask)
    if box is None:
        assert not mask.any()
        return
    x1, y1, x2, y2 = (int(side) for side in box)
    assert mask[y1:y2, x1:x2].sum() == mask.sum()
    assert mask[y1].any() and mask[y2 - 1].any() and mask[:, x1].any() and mask[:, x2 - 1].any()


def test_boxes_are_cut_at_the_frame() -> None:
    assert clip(np.array([[-5.0, 2, 30, 40]]), height=20, width=10).tolist() == [[0, 2, 10, 20]]


@given(box_lists, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.6, 1.0]), st.integers(0, 9))
def test_suppression_agrees_with_the_greedy_loop(
    boxes: Array, seed: int, threshold: float, most: int
) -> None:
    scores = np.random.default_rng(seed).integers(0, 5, len(boxes)) / 4
    kept: list[int] = []
    for candidate in sorted(range(len(boxes)), key=lambda index: (-scores[index], index)):
        rivals = iou_matrix(boxes[[candidate]], boxes[kept])[0] if kept else np.zeros(0)
        if len(kept) < most and not (rivals > threshold).any():
            kept.append(candidate)
    found = non_maximum_suppression(boxes, scores, iou_threshold=threshold, max_kept=most)
    assert found.dtype == np.int64
    assert found.tolist() == kept


def test_suppression_refuses_scores_it_cannot_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        non_maximum_suppression(np.zeros((1, 4)), np.array([np.nan]), iou_threshold=0.5, max_kept=1)
    with pytest.raises(ValueError, match="2 scores"):
        non_maximum_suppression(np.zeros((1, 4)), np.zeros(2), iou_threshold=0.5, max_kept=1)


def test_every_frame_is_a_key_frame_and_says_why() -> None:
    scheduler = KeyFrameScheduler(ScheduleConfig())
    assert [scheduler.decide(index).key_frame for index in range(5)] == [True] * 5
    assert scheduler.decide(0).reason == str(ScheduleMode.EVERY_FRAME) == "every-frame"
    with pytest.raises(ValueError, match="-1"):
        scheduler.decide(-1)
    with pytest.raises(ValueError, match="interval"):
        ScheduleConfig(interval=2)


def test_the_inner_center_of_an_l_lies_in_its_corner() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:50, 10:20] = True
    mask[40:50, 10:60] = True
    assert inner_center(mask) == (40, 28)


@given(masks)
def test_the_inner_center_is_in_the_mask_and_nearest_to_all_edge_points(mask: NDArray[np.bool_]) -> None:
    found = inner_center(mask)
    if found is None:
        assert not mask.any()
        return
    edges = edge_points(mask)
    cost = {
        (int(row), int(column)): int(((edges - (row, column)) ** 2).sum())
        for row, column in np.argwhere(mask)
    }
    assert cost[found] == min(cost.values())
