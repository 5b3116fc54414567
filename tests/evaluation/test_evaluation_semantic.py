"""Semantic metrics against counting with sets of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.labels import VOID
from partstream_evaluation.metrics.semantic import (
    bootstrap_interval,
    class_ious,
    common_classes,
    confusion_matrix,
    mean_iou,
    person_iou,
)

LabelMap = NDArray[np.uint8]
CLASSES = 5


def maps(seed: int, *, num_photos: int = 3) -> list[tuple[LabelMap, LabelMap]]:
    """Truth, with void, and prediction of some photos of different sizes."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_photos):
        size = rng.integers(1, 9, 2)
        truth = rng.choice(np.array([0, 1, 2, 3, VOID], np.uint8), size)
        found.append((truth, rng.integers(0, CLASSES - 1, size, np.uint8)))
    return found


@given(st.integers(0, 2**32 - 1))
def test_figures_agree_with_counting_pixels(seed: int) -> None:
    photos = maps(seed)
    confusion = np.sum([confusion_matrix(*photo, num_classes=CLASSES) for photo in photos], axis=0)
    truth = np.concatenate([photo[0].ravel() for photo in photos])
    predicted = np.concatenate([photo[1].ravel() for photo in photos])
    truth, predicted = truth[truth != VOID], predicted[truth != VOID]
    expected = []
    for label in range(CLASSES):
        union = ((truth == label) | (predicted == label)).sum()
        shared = ((truth == label) & (predicted == label)).sum()
        expected.append(shared / union if union else np.nan)
    np.testing.assert_allclose(class_ious(confusion), expected)
    if not np.isnan(expected).all():
        assert mean_iou(confusion) == pytest.approx(np.nanmean(expected))
    union = ((truth > 0) | (predicted > 0)).sum()
    shared = ((truth > 0) & (predicted > 0)).sum()
    assert person_iou(confusion) == pytest.approx(shared / union if union else np.nan, nan_ok=True)


def test_a_class_that_is_claimed_and_nowhere_true_costs() -> None:
    truth, predicted = np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8)
    assert mean_iou(confusion_matrix(truth, predicted)) == pytest.approx((0.75 + 0) / 2)


def test_void_is_left_out_whatever_is_predicted_there() -> None:
    truth = np.array([[1, VOID, VOID]], np.uint8)
    predicted = np.array([[1, 1, 0]], np.uint8)
    assert person_iou(confusion_matrix(truth, predicted)) == 1


def test_common_classes_are_counted_in_the_truth_photo_by_photo() -> None:
    truths = [np.array([[0, 1]], np.uint8)] * 3 + [np.array([[2, 2]], np.uint8)]
    confusions = np.stack([confusion_matrix(truth, np.full_like(truth, 3)) for truth in truths])
    assert np.flatnonzero(common_classes(confusions, min_photos=3)).tolist() == [0, 1]
    assert np.flatnonzero(common_classes(confusions, min_photos=1)).tolist() == [0, 1, 2]


def test_maps_that_cannot_be_compared_are_refused() -> None:
    small, large = np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion_matrix(small, large)
    with pytest.raises(ValueError, match="prediction holds class 20"):
        confusion_matrix(small, np.full_like(small, 20))
    with pytest.raises(ValueError, match="prediction holds class 255"):
        confusion_matrix(small, np.full_like(small, VOID))


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        right = rng.binomial(100, 0.8, 40)  # each photo has 100 pixels, 80 of them right in the long run
        confusions = np.zeros((40, 2, 2), np.int64)
        confusions[:, 1, 1], confusions[:, 1, 0] = right, 100 - right
        found = bootstrap_interval(confusions, person_iou, rng=rng, num_resamples=200)
        hits += found.low <= 0.8 <= found.high
    assert 85 <= hits <= 100


def test_an_interval_of_equal_photos_is_a_point_and_repeats() -> None:
    confusions = np.stack([confusion_matrix(*maps(1)[0])] * 5)
    found = bootstrap_interval(confusions, mean_iou, rng=np.random.default_rng(0))
    assert found.low == pytest.approx(found.high) == pytest.approx(mean_iou(confusions[0]))


def test_an_interval_of_nothing_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="photo"):
        bootstrap_interval(np.zeros((0, 2, 2), np.int64), mean_iou, rng=rng)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval(np.zeros((1, 2, 2), np.int64), mean_iou, rng=rng, confidence=95)
