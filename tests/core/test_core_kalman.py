"""The box filter against a textbook Kalman filter, one box at a time in plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.tracker.kalman import (
    KalmanState,
    box_of,
    gating_distance,
    initiate,
    measurement_of,
    predict,
    update,
)

Array = NDArray[np.float64]
boxes = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(5, 400), st.floats(5, 400)).map(
    lambda box: np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
)
walks = st.lists(boxes, min_size=2, max_size=6)


def textbook(walk: list[Array], period: float) -> tuple[Array, Array]:
    """Mean and covariance after seeing the boxes `period` apart, after Kalman (1960) and Van Loan (1978)."""
    transition = np.block([[np.eye(4), period * np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
    mean, covariance = np.zeros(8), np.zeros((8, 8))
    for step, box in enumerate(walk):
        height = box[3] - box[1]
        seen = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / height, height])
        if step == 0:
            mean[:4] = seen
            std = [height / 10] * 2 + [0.02, height / 10] + [height / 16] * 2 + [1e-4, height / 16]
            covariance = np.diag(np.square(std))
            continue
        h = max(mean[3], 1)
        density = np.diag(np.square([h / 20, h / 20, 0.01, h / 20, h / 160, h / 160, 1e-5, h / 160]))
        times = (np.arange(2000) + 0.5) / 2000 * period
        noise = np.zeros((8, 8))
        for time in times:  # the integral of F(s) q F(s)^T
            flow = np.block([[np.eye(4), time * np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
            noise += flow @ density @ flow.T * period / len(times)
        mean = transition @ mean
        mean[2], mean[3] = max(mean[2], 0.01), max(mean[3], 1)
        covariance = transition @ covariance @ transition.T + noise
        observe = np.eye(4, 8)
        h = mean[3]
        innovation = observe @ covariance @ observe.T + np.diag(np.square([h / 20, h / 20, 0.1, h / 20]))
        gain = covariance @ observe.T @ np.linalg.inv(innovation)
        mean = mean + gain @ (seen - observe @ mean)
        keep = np.eye(8) - gain @ observe
        spread = innovation - observe @ covariance @ observe.T
        covariance = keep @ covariance @ keep.T + gain @ spread @ gain.T  # Joseph's form
    return mean, covariance


@pytest.mark.parametrize("period", [1.0, 3.0, 0.5])
def test_agrees_with_the_textbook(period: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        start = np.array([100.0, 50, 180, 290])
        walk = [start + rng.normal(0, 8, 4) + 5 * step for step in range(5)]
        state = initiate(measurement_of(walk[0]))
        for box in walk[1:]:
            state = update(predict(state, period), measurement_of(box))
        mean, covariance = textbook(walk, period)
        np.testing.assert_allclose(state.mean, mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.covariance, covariance, rtol=1e-5, atol=1e-6)


@given(walks)
def test_covariance_stays_symmetric_and_positive(walk: list[Array]) -> None:
    state = initiate(measurement_of(walk[0]))
    for box in walk[1:]:
        state = update(predict(state, 1), measurement_of(box))
        np.testing.assert_array_equal(state.covariance, state.covariance.T)
        assert np.linalg.eigvalsh(state.covariance).min() > 0
        assert np.isfinite(state.mean).all()


@given(boxes, st.floats(0.1, 5), st.floats(0.1, 5))
def test_two_predictions_equal_one_over_the_sum(box: Array, first: float, second: float) -> None:
    state = initiate(measurement_of(box))
    steps, leap = predict(predict(state, first), second), predict(state, first + second)
    np.testing.assert_allclose(steps.mean, leap.mean, rtol=1e-9)
    np.testing.assert_allclose(steps.covariance, leap.covariance, rtol=1e-9, atol=1e-12)


@given(boxes)
def test_a_box_survives_the_round_trip(box: Array) -> None:
    np.testing.assert_allclose(box_of(initiate(measurement_of(box))), box, rtol=1e-9, atol=1e-9)


@given(st.lists(boxes, min_size=1, max_size=4), st.lists(boxes, min_size=1, max_size=4))
def test_many_states_are_filtered_as_one_by_one(tracks: list[Array], seen: list[Array]) -> None:
    many = predict(initiate(measurement_of(np.stack(tracks))), 2)
    distances = gating_distance(many, measurement_of(np.stack(seen)))
    for row, box in enumerate(tracks):
        one = predict(initiate(measurement_of(box)), 2)
        np.testing.assert_allclose(many.mean[row], one.mean)
        np.testing.assert_allclose(many.covariance[row], one.covariance)
        difference = measurement_of(np.stack(seen)) - one.mean[:4]
        h = one.mean[3]
        innovation = one.covariance[:4, :4] + np.diag(np.square([h / 20, h / 20, 0.1, h / 20]))
        expected = [d @ np.linalg.inv(innovation) @ d for d in difference]
        np.testing.assert_allclose(distances[row], expected, rtol=1e-6)


def test_a_shrinking_box_never_turns_inside_out() -> None:
    mean = np.array([0, 0, 0.4, 50, 0, 0, -0.1, -20.0])
    state = predict(KalmanState(mean, np.eye(8)), 100)
    x1, y1, x2, y2 = box_of(state)
    assert x2 > x1
    assert y2 > y1


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="period"):
        predict(initiate(measurement_of([0, 0, 10, 20])), -1)
