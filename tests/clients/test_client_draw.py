"""Pictures of results."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from partstream_client import Frame
from partstream_client.draw import identity_colour
from partstream_core import rle
from partstream_core.joints import JOINTS
from partstream_core.labels import PALETTE, PARTS
from partstream_core.results import FrameResult, JointResult, PartResult, PersonResult

SIZE = (80, 60)
GREY = np.full((*SIZE, 3), 100, np.uint8)


def frame(*, masks: bool = True, identity: int = 5) -> Frame:
    body, hair = np.zeros((2, *SIZE), np.bool_)
    body[30:70, 10:50] = True
    hair[34:44, 14:46] = True
    parts = (PartResult("hair", 0.9, int(hair.sum()), rle.encode(hair) if masks else None),)
    person = PersonResult(identity, 0.9, (10, 30, 50, 70), rle.encode(body) if masks else None, parts)
    return Frame(FrameResult(0, 0.0, True, (person,)))


def test_parts_are_mixed_with_the_picture_and_the_rest_stays() -> None:
    drawn = frame().draw(GREY, opacity=0.25)
    expected = np.round(GREY[40, 30] * 0.75 + PALETTE[PARTS.index("hair")] * 0.25)
    np.testing.assert_array_equal(drawn[40, 30], expected)
    np.testing.assert_array_equal(drawn[60, 30], GREY[60, 30])
    np.testing.assert_array_equal(drawn[75, 55], GREY[75, 55])


def test_a_person_has_a_rim_in_the_colour_of_the_identity() -> None:
    drawn = frame().draw(GREY)
    assert tuple(drawn[69, 30]) == tuple(drawn[60, 10]) == identity_colour(5)
    assert tuple(drawn[71, 30]) != identity_colour(5)


def test_a_person_without_a_mask_has_a_box() -> None:
    drawn = frame(masks=False).draw(GREY)
    assert tuple(drawn[70, 30]) == tuple(drawn[60, 10]) == identity_colour(5)
    np.testing.assert_array_equal(drawn[40, 30], GREY[40, 30])


@pytest.mark.parametrize("masks", [True, False])
def test_a_skeleton_joins_the_joints_that_are_visible(masks: bool) -> None:
    places = {"left_hip": (20.0, 40.0), "left_knee": (20.0, 60.0), "left_ankle": (20.0, 78.0)}
    joints = tuple(
        JointResult(name, *places.get(name, (55.0, 5.0)), 0.9 if name in ("left_hip", "left_knee") else 0.1)
        for name in JOINTS
    )
    (person,) = frame(masks=masks).record.people
    jointed = Frame(FrameResult(0, 0.0, True, (replace(person, joints=joints),)))
    plain, drawn = jointed.draw(GREY), jointed.draw(GREY, skeletons=True)
    assert tuple(drawn[50, 20]) == identity_colour(5)
    assert tuple(drawn[60, 20]) == (255, 255, 255)
    np.testing.assert_array_equal(drawn[72, 11:49], plain[72, 11:49], "the ankle is hidden")
    np.testing.assert_array_equal(drawn[:10, 52:], plain[:10, 52:])
    np.testing.assert_array_equal(frame().draw(GREY, skeletons=True), frame().draw(GREY))


def test_the_given_picture_is_not_changed() -> None:
    before = GREY.copy()
    frame().draw(GREY)
    np.testing.assert_array_equal(GREY, before)


def test_numbers_next_to_each_other_look_unlike() -> None:
    colours = np.array([identity_colour(identity) for identity in range(1, 12)], np.int64)
    for first, second in itertools.pairwise(colours):
        assert np.abs(first - second).max() > 100


@pytest.mark.parametrize(
    "image",
    [GREY[..., 0], GREY.astype(np.float32), np.zeros((0, 4, 3), np.uint8), "clip.mp4", None],
)
def test_what_is_no_rgb_image_is_refused(image: object) -> None:
    with pytest.raises(ValueError, match="an image is"):
        frame().draw(image)  # type: ignore[arg-type]


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[80, 60\].*\[40, 60\]"):
        frame().draw(GREY[:40])


def test_opacity_is_a_share() -> None:
    with pytest.raises(ValueError, match="opacity"):
        frame().draw(GREY, opacity=1.5)
