"""Flicker: label changes along a known way."""

import numpy as np
import pytest

from partstream_evaluation.metrics.flicker import Changes, carried, changes, steady

FORMER = np.array([[0, 1, 1, 2], [0, 1, 1, 2], [0, 0, 3, 3]])


def moved(columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Everything went so many columns to the right since the former frame."""
    flow = np.zeros((*FORMER.shape, 2), np.float32)
    flow[..., 0] = -columns
    return flow


def test_labels_come_from_where_flow_leads() -> None:
    came, there = carried(FORMER, moved(1))
    np.testing.assert_array_equal(came[:, 1:], FORMER[:, :-1])
    np.testing.assert_array_equal(there, [[False, True, True, True]] * 3)


def test_a_parse_that_moves_along_does_not_flicker() -> None:
    now = np.roll(FORMER, 1, axis=1)
    counted = steady(now, FORMER, moved(1))
    assert changes(now, FORMER, moved(1), counted) == Changes(0, 5)


def test_only_what_stays_counts_and_only_changes_of_it_flicker() -> None:
    truth = np.roll(FORMER, 1, axis=1)
    truth[0, 2] = 7  # what is seen here was not seen before
    predicted = np.roll(FORMER, 1, axis=1)
    predicted[0, 2] = predicted[1, 2] = predicted[2, 3] = 5
    found = changes(predicted, FORMER, moved(1), steady(truth, FORMER, moved(1)))
    assert found == Changes(2, 4)
    assert found.share == 0.5
    assert (found + Changes(1, 6)).share == 0.3


def test_nothing_to_count_has_no_share() -> None:
    assert np.isnan(Changes().share)


def test_flow_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        carried(FORMER, np.zeros((2, 2, 2)))
