"""DAVIS' J and F and AP of masks, against figures of the public scripts and against slow counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.rle import encode, iou_matrix
from partstream_evaluation.metrics.average_precision import (
    PART_THRESHOLDS,
    PERSON_THRESHOLDS,
    Matching,
    PictureOverlaps,
    average_precision,
    mean_average_precision,
)
from partstream_evaluation.metrics.davis import boundary_f, region_iou, sequence_score

BoolArray = NDArray[np.bool_]


def ellipse(x: float, y: float) -> BoolArray:
    """An ellipse of radii 90 and 150 in a frame of 480x854."""
    rows, columns = np.mgrid[:480, :854]
    inside: BoolArray = ((columns - x) / 90) ** 2 + ((rows - y) / 150) ** 2 <= 1
    return inside


def rectangle(y: int, x: int, height: int, width: int) -> BoolArray:
    """A rectangle in a picture of 40x60."""
    mask = np.zeros((40, 60), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def picture(truth: list[BoolArray], found: list[tuple[float, BoolArray]]) -> PictureOverlaps:
    """Overlaps of predictions with true masks."""
    iou = iou_matrix([encode(mask) for _, mask in found], [encode(mask) for mask in truth])
    return PictureOverlaps(np.array([score for score, _ in found]), iou)


def golden() -> list[PictureOverlaps]:
    """Two pictures in which two predictions are right about one person."""
    first = picture(
        [rectangle(5, 5, 20, 10), rectangle(5, 30, 20, 10)],
        [(0.9, rectangle(5, 5, 20, 10)), (0.8, rectangle(5, 6, 20, 10)), (0.7, rectangle(0, 50, 5, 5))],
    )
    return [first, picture([rectangle(8, 10, 20, 10)], [(0.6, rectangle(8, 12, 20, 10))])]


def test_j_and_f_are_those_of_davis() -> None:
    pairs = [(ellipse(300 + 8 * t, 240), ellipse(300 + 10 * t, 240)) for t in range(20)]
    j = sequence_score([region_iou(*pair) for pair in pairs])
    f = sequence_score([boundary_f(*pair) for pair in pairs])
    assert (j.mean, j.recall, j.decay) == pytest.approx((0.773011, 1.0, 0.308963), abs=1e-6)
    assert (f.mean, f.recall, f.decay) == pytest.approx((0.359544, 0.25, 0.822614), abs=1e-6)


def test_a_long_sequence_has_a_decay() -> None:
    score = sequence_score(list(np.linspace(1, 0, 600)))
    assert score.decay == pytest.approx(0.75, abs=0.01)
    with pytest.raises(ValueError, match="frame"):
        sequence_score([])


def test_empty_masks_agree_and_an_empty_one_fits_no_other() -> None:
    empty, full = np.zeros((9, 9), bool), np.pad(np.ones((5, 5), bool), 2)
    assert (region_iou(empty, empty), boundary_f(empty, empty)) == (1, 1)
    assert (region_iou(full, empty), boundary_f(full, empty), boundary_f(empty, full)) == (0, 0, 0)
    assert (region_iou(full, full), boundary_f(full, full)) == (1, 1)


@given(st.integers(0, 2**32 - 1))
def test_f_agrees_with_looking_at_every_pair_of_outline_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((12, 15)) < rng.choice([0.02, 0.5]) for _ in range(2)]
    outlines: list[NDArray[np.int64]] = []
    for mask in masks:
        points = []
        for y, x in np.ndindex(*mask.shape):
            corner = mask[y : y + 2, x : x + 2]
            if corner.any() and not corner.all():
                points.append((y, x))
        outlines.append(np.array(points, np.int64).reshape(-1, 2))
    near = np.hypot(*(outlines[0][:, None] - outlines[1][None]).transpose(2, 0, 1)) <= 2
    if not near.size:
        assert boundary_f(*masks, tolerance=0.1) == float(len(outlines[0]) == len(outlines[1]))
        return
    recall, precision = near.any(axis=1).mean(), near.any(axis=0).mean()
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert boundary_f(*masks, tolerance=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    "threshold, matching, expected",
    [
        (0.5, Matching.COMPAT, 0.9166667),
        (0.5, Matching.STRICT, 0.5),
        (0.7, Matching.COMPAT, 0.6666667),
        (0.7, Matching.STRICT, 0.3333333),
    ],
)
def test_ap_is_that_of_the_scripts(threshold: float, matching: Matching, expected: float) -> None:
    assert average_precision(golden(), threshold=threshold, matching=matching) == pytest.approx(
        expected, abs=1e-7
    )


def test_the_means_are_over_the_papers_thresholds() -> None:
    assert PERSON_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert PART_THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    values = [average_precision(golden(), threshold=value) for value in PART_THRESHOLDS]
    assert mean_average_precision(golden(), thresholds=PART_THRESHOLDS) == pytest.approx(np.mean(values))


def test_overlap_at_the_threshold_is_not_above_it() -> None:
    half = [PictureOverlaps(np.array([0.9]), np.array([[0.5]]))]
    assert average_precision(half, threshold=0.5) == 0
    assert average_precision(half, threshold=0.49) == 1


def test_scores_rank_as_numbers_over_all_pictures() -> None:
    wrong = PictureOverlaps(np.array([0.0009, 10.0]), np.array([[1.0], [0.0]]))
    assert average_precision([wrong], threshold=0.5) == 0.5


def test_pictures_without_people_or_without_predictions() -> None:
    nobody = PictureOverlaps(np.array([0.9]), np.zeros((1, 0)))
    unseen = PictureOverlaps(np.zeros(0), np.zeros((0, 1)))
    assert np.isnan(average_precision([nobody], threshold=0.5))
    assert average_precision([unseen], threshold=0.5) == 0
    with pytest.raises(ValueError, match="overlaps"):
        PictureOverlaps(np.zeros(2), np.zeros((1, 1)))
