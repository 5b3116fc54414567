"""AP^p and PCP against slow counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.rle import Rle, encode, encode_label_map
from partstream_evaluation.metrics.parsing import ap_p, ap_p_vol, pcp, picture_people

SIZE = (12, 16)
NAMES = ("face", "coat", "pants")


def person(parts_HW: NDArray[np.integer]) -> dict[str, Rle]:
    """The parts of a person as masks."""
    return {NAMES[part - 1]: mask for part, mask in encode_label_map(parts_HW, range(1, 4)).items()}


def standing(left: int, *, face: int = 4) -> NDArray[np.int64]:
    """A face over a coat over pants, five pixels wide."""
    parts = np.zeros(SIZE, np.int64)
    parts[:face, left : left + 5] = 1
    parts[face:8, left : left + 5] = 2
    parts[8:, left : left + 5] = 3
    return parts


def slow_mean_iou(a: NDArray[np.integer], b: NDArray[np.integer]) -> tuple[float, int]:
    """Mean IoU over the parts that either has, and how many are above one half; pixel by pixel."""
    ious = []
    for part in (1, 2, 3):
        either = [(y, x) for y, x in np.ndindex(*a.shape) if part in (a[y, x], b[y, x])]
        if either:
            ious.append(sum(a[at] == b[at] for at in either) / len(either))
    return (sum(ious) / len(ious) if ious else 0.0), sum(iou > 0.5 for iou in ious)


def test_people_found_to_the_pixel_are_perfect() -> None:
    people = [person(standing(1)), person(standing(9))]
    picture = picture_people(people, people, [0.9, 0.3])
    assert (ap_p([picture]), ap_p_vol([picture]), pcp([picture])) == (1, 1, 1)


def test_one_of_two_people_found_with_one_part_of_three_wrong() -> None:
    """Of the found one, hair covers the coat: two of its three parts are right, of six true ones."""
    truth = [standing(1), standing(9)]
    found = np.where(truth[0] == 2, 1, truth[0])
    picture = picture_people([person(each) for each in truth], [person(found)], [0.8])
    mean, right = slow_mean_iou(truth[0], found)
    assert mean == pytest.approx(0.5) and right == 1, "the face is half of what is called face"
    assert picture.mean_iou_MN[0] == pytest.approx([mean, 0])
    assert ap_p([picture], threshold=0.49) == pytest.approx(0.5)
    assert ap_p([picture], threshold=0.5) == 0
    assert pcp([picture], threshold=0.49) == pytest.approx(1 / 6)
    assert pcp([picture]) == 0, "a person who is not found has no right parts"


def test_a_second_prediction_of_a_person_is_wrong_and_adds_no_parts() -> None:
    truth, worse = standing(1), standing(1, face=5)
    picture = picture_people([person(truth)], [person(worse), person(truth)], [0.9, 0.8])
    assert ap_p([picture]) == 1
    assert pcp([picture]) == 1
    late = picture_people([person(truth)], [person(np.zeros(SIZE, np.int64)), person(truth)], [0.9, 0.8])
    assert ap_p([late]) == 0.5


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_overlap_of_every_pair_agrees_with_counting_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.integers(0, 4, SIZE) * (rng.random(SIZE) < rng.choice([0.1, 0.9])) for _ in range(4)]
    maps[0] = np.where(maps[0] == 2, 0, maps[0])
    picture = picture_people(
        [person(each) for each in maps[:2]], [person(each) for each in maps[2:]], [0.5, 0.6]
    )
    for row, column in np.ndindex(2, 2):
        mean, right = slow_mean_iou(maps[column], maps[2 + row])
        assert picture.mean_iou_MN[row, column] == pytest.approx(mean)
        assert picture.right_parts_MN[row, column] == right


def test_nobody_in_truth_or_nobody_found() -> None:
    someone = [person(standing(1))]
    assert np.isnan(
        [ap_p([picture_people([], someone, [0.5])]), pcp([picture_people([], someone, [0.5])])]
    ).all()
    assert (ap_p([picture_people(someone, [], [])]), pcp([picture_people(someone, [], [])])) == (0, 0)
    with pytest.raises(ValueError, match="1 people and 2 scores"):
        picture_people([], someone, [0.5, 0.6])


def test_masks_used_here_have_pixels() -> None:
    """A part with no pixel is no part: the helper must not make one."""
    assert set(person(standing(1, face=8))) == {"face", "pants"}
    assert person(standing(1))["face"] == encode(standing(1) == 1)
