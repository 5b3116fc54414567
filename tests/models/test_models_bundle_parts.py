"""Part labels from a bundle, where the other teachers agree."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.labels import PARTS, VOID
from partstream_core.results import FrameResult, PartResult, PersonResult
from partstream_core.rle import encode
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable
from partstream_models.data.photos.partial_labels import ALLOWED, EITHER_SIDE, PERSON
from partstream_models.data.scenes.labelled import LabelledPicture
from partstream_models.teachers.bundle_parts import (
    add_bundle_parts,
    merge_parts,
    nameable_parts,
    sure_parts,
)

SIZE = (12, 16)
COAT, PANTS, LEFT_ARM = (PARTS.index(name) for name in ("coat", "pants", "left-arm"))
TORSO = ALLOWED.index(("upper-clothes", "dress", "coat", "torso-skin", "scarf", "pants", "skirt"))


def picture(answer: int, *, parts: int = VOID, person: int = 1) -> LabelledPicture:
    """A picture full of one person about whom the teachers gave one answer."""
    parts_HW, people_HW, teacher_HW = (np.full(SIZE, value, np.uint8) for value in (parts, person, answer))
    image_HWC, joints_NJ3 = np.zeros((*SIZE, 3), np.uint8), np.zeros((1, 17, 3), np.float32)
    return LabelledPicture("made", image_HWC, parts_HW, people_HW, teacher_HW, joints_NJ3)


def block(part: int) -> NDArray[np.uint8]:
    """A part in rows 2 to 8 and columns 3 to 9."""
    drawn = np.zeros(SIZE, np.uint8)
    drawn[2:9, 3:10] = part
    return drawn


def test_a_part_that_both_maps_name_becomes_a_label_but_for_its_outermost_pixel() -> None:
    merged = merge_parts(picture(TORSO), block(COAT), block(COAT))
    expected = np.full(SIZE, VOID, np.uint8)
    expected[3:8, 4:9] = COAT
    np.testing.assert_array_equal(merged.parts_HW, expected)


@pytest.mark.parametrize(
    ("given", "one", "other"),
    [
        (picture(TORSO), COAT, PANTS),
        (picture(PERSON), COAT, COAT),
        (picture(0), COAT, COAT),
        (picture(TORSO), LEFT_ARM, LEFT_ARM),
        (picture(EITHER_SIDE[2]), LEFT_ARM, LEFT_ARM),
        (picture(TORSO, person=VOID), COAT, COAT),
        (picture(TORSO, person=0), COAT, COAT),
        (picture(TORSO, parts=PANTS), COAT, COAT),
    ],
    ids=["the maps differ", "no region", "no answer", "another region", "side not known", "person not known",
         "background", "labelled already"],
)  # fmt: skip
def test_no_label_changes_where(given: LabelledPicture, one: int, other: int) -> None:
    np.testing.assert_array_equal(merge_parts(given, block(one), block(other)).parts_HW, given.parts_HW)


def test_an_answer_that_names_the_side_lets_that_side_be_named() -> None:
    assert (merge_parts(picture(2), block(LEFT_ARM), block(LEFT_ARM)).parts_HW == LEFT_ARM).sum() == 25


def test_no_answer_lets_background_be_named() -> None:
    assert not nameable_parts()[:, 0].any()


def test_parts_and_people_with_low_scores_are_left_out() -> None:
    def person(identity: int, score: float, part_score: float, top: int) -> PersonResult:
        mask = np.zeros(SIZE, bool)
        mask[top : top + 3] = True
        part = PartResult("coat", part_score, int(mask.sum()), encode(mask))
        return PersonResult(identity, score, (0, top, SIZE[1], top + 3), encode(mask), (part,))

    people = (person(1, 0.9, 0.9, 0), person(2, 0.9, 0.5, 4), person(3, 0.5, 0.9, 8))
    found = sure_parts(FrameResult(0, 0.0, True, people), height=SIZE[0], width=SIZE[1])
    assert np.unique(np.nonzero(found)[0]).tolist() == [0, 1, 2]


def test_a_command_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    command = PartstreamCommand(tmp_path / "partstream")
    with pytest.raises(EvaluationError, match=str(tmp_path / "partstream")):
        list(add_bundle_parts([picture(TORSO)], command))


@pytest.mark.slow
def test_pictures_without_people_pass_through_the_real_command_unchanged() -> None:
    command = PartstreamCommand(find_executable(None))
    given = [picture(0, parts=0, person=0), picture(TORSO)]
    found = list(add_bundle_parts(given, command))
    for one, other in zip(found, given, strict=True):
        np.testing.assert_array_equal(one.parts_HW, other.parts_HW)
