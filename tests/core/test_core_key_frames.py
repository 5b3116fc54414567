"""Algorithm 1's key list: segments, medians and encoding neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.key_frames import plan_segments


def test_ten_frames_in_threes_with_a_range_of_two() -> None:
    segments = plan_segments(10, length=3, encoding_range=2)
    assert [segment.key for segment in segments] == [1, 4, 7, 9]
    assert [segment.neighbours for segment in segments] == [(4, 7), (1, 7), (1, 4), (4, 7)]
    assert sum(len(segment.neighbours) for segment in segments) == 8
    assert sum(len(segment.others) for segment in segments) == 6


def test_frames_lie_around_their_key_as_the_training_samples_them() -> None:
    for length in range(1, 8):
        (segment,) = plan_segments(length, length=length, encoding_range=0)
        offsets = [frame - segment.key for frame in range(segment.first, segment.end)]
        assert offsets == list(range(-(length // 2), length - length // 2))


@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 5))
def test_every_frame_has_one_segment_and_every_key_its_nearest_neighbours(
    num_frames: int, length: int, encoding_range: int
) -> None:
    segments = plan_segments(num_frames, length=length, encoding_range=encoding_range)
    assert sorted(f for s in segments for f in (s.key, *s.others)) == list(range(num_frames))
    keys = [segment.key for segment in segments]
    for segment in segments:
        former = [key for key in keys if key < segment.key][-encoding_range:] if encoding_range else []
        later = [key for key in keys if key > segment.key][: encoding_range - len(former)]
        assert list(segment.neighbours) == former + later


@pytest.mark.parametrize(
    ("num_frames", "length", "encoding_range", "named"),
    [(-1, 3, 2, "num_frames"), (5, 0, 2, "length"), (5, 3, -1, "encoding_range")],
)
def test_bad_numbers_are_named(num_frames: int, length: int, encoding_range: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        plan_segments(num_frames, length=length, encoding_range=encoding_range)
