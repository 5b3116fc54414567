"""Shares of pairs of embeddings that are alike."""

import numpy as np
import pytest

from partstream_server.benchmarks.compare.likeness import DISTANCES, Sighting, compare, whose

ALIKE, UNLIKE = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_pairs_are_told_apart_by_person_and_clip() -> None:
    seen = [
        Sighting("a", 0, 1, ALIKE),
        Sighting("a", 0, 2, UNLIKE),
        Sighting("a", 9, 1, ALIKE),
        Sighting("a", 9, 2, ALIKE),
        Sighting("b", 0, 1, UNLIKE),
    ]
    for row, distance in zip(compare(seen), DISTANCES, strict=True):
        assert row.distance == distance
        assert row.same_person == 0.5  # the first is alike, the second changed
        assert row.same_clip == 0.5  # frame 0's first is like frame 9's second; frame 0's second like neither
        assert row.other_clip == 0.25


def test_without_pairs_there_is_no_share_and_without_people_an_error() -> None:
    assert np.isnan(compare([Sighting("a", 0, 1, ALIKE)])[0].same_person)
    with pytest.raises(ValueError, match="nobody"):
        compare([])


def test_a_mask_is_the_persons_whom_it_overlaps_most() -> None:
    truth = np.zeros((40, 80), np.uint8)
    truth[:, :30], truth[:, 60:] = 1, 2
    mask = np.zeros((10, 20), np.bool_)
    mask[:, 15:] = True
    assert whose(mask, truth) == 2
    assert whose(np.ones((10, 20), np.bool_), truth) == 0
    assert whose(np.zeros((10, 20), np.bool_), truth) == 0
