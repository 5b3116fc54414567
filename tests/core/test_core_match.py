"""Matching under a gate against trying every matching."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from partstream_core.boxes import iou_matrix
from partstream_core.tracker.match import associate, buffered_iou, cosine_distance

Array = NDArray[np.float64]
costs = st.tuples(st.integers(0, 4), st.integers(0, 4)).flatmap(
    lambda size: hnp.arrays(np.float64, size, elements=st.floats(0, 1) | st.just(np.inf))
)


def best_gain(cost: Array, gate: float) -> float:
    """The largest sum of (gate - cost) over all one-to-one matchings of pairs within the gate."""
    best = 0.0
    rows, columns = range(cost.shape[0]), range(cost.shape[1])
    for size in range(1, min(cost.shape) + 1):
        for chosen in combinations(rows, size):
            for partners in permutations(columns, size):
                values = cost[list(chosen), list(partners)]
                if (values <= gate).all():
                    best = max(best, float((gate - values).sum()))
    return best


@given(costs, st.floats(0, 1))
def test_agrees_with_trying_every_matching(cost: Array, gate: float) -> None:
    found = associate(cost, gate=gate)
    assert all(cost[pair] <= gate for pair in found.pairs)
    assert sum(gate - cost[pair] for pair in found.pairs) == pytest.approx(best_gain(cost, gate), abs=1e-9)
    assert sorted([row for row, _ in found.pairs] + list(found.free_rows)) == list(range(cost.shape[0]))
    assert sorted([column for _, column in found.pairs] + list(found.free_columns)) == list(
        range(cost.shape[1])
    )


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        associate(np.array([[np.nan]]), gate=1)


def test_cosine_distance_runs_from_0_to_2() -> None:
    vectors = np.array([[1.0, 0], [0, 1], [-1, 0]])
    np.testing.assert_allclose(cosine_distance(vectors, vectors[:1]), [[0], [1], [2]])


def test_without_buffer_the_grown_boxes_are_the_boxes() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 50, (5, 2))], axis=1)
    np.testing.assert_allclose(buffered_iou(boxes, boxes[:3], np.zeros(5)), iou_matrix(boxes, boxes[:3]))


def test_a_narrow_box_reaches_sideways_as_far_as_up() -> None:
    box = np.array([[0.0, 0, 20, 80]])
    sideways, up = box + np.array([44, 0, 44, 0]), box + np.array([0, 104, 0, 104])
    assert buffered_iou(box, sideways, np.array([0.3]))[0, 0] > 0
    assert buffered_iou(box, up, np.array([0.3]))[0, 0] > 0
    assert iou_matrix(box, sideways)[0, 0] == iou_matrix(box, up)[0, 0] == 0
