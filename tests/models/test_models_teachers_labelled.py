"""Teachers beside labels that are there already: instance masks, and street photos with bystanders."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.labels import PARTS, VOID
from partstream_evaluation.ccp import HINT_STRIDE, HINTS, read_class_names
from partstream_models.data.photos.partial_labels import CARRIED, EITHER_SIDE, PERSON
from partstream_models.teachers.answers import Answers, Teachers
from partstream_models.teachers.blazepose import LANDMARK_OF_JOINT, PosedPerson
from partstream_models.teachers.instances import label_instances, match, without_edges
from partstream_models.teachers.people import FoundPerson
from partstream_models.teachers.sides import FEET, LEGS
from partstream_models.teachers.street import label_photo

HEIGHT, WIDTH = 320, 240
SKIN, SHOES, BAG = "skin", "shoes", "bag"


def person_at(x: int) -> FoundPerson:
    """A person as tall as the picture, facing the viewer."""
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[20:310, x - 24 : x + 24] = 1
    joints = np.full((17, 3), 0.9, np.float32)
    joints[:5, :2] = x, 40
    for row, (dx, y) in enumerate(
        [(14, 80), (-14, 80), (20, 120), (-20, 120), (20, 160), (-20, 160), (12, 170), (-12, 170), (12, 230),
         (-12, 230), (12, 300), (-12, 300)], 5,
    ):  # fmt: skip
        joints[row, :2] = x + dx, y
    landmarks = np.zeros((33, 3), np.float32)
    landmarks[list(LANDMARK_OF_JOINT)] = joints
    box = np.array([x - 24, 20, x + 24, 310], np.float32)
    return FoundPerson(0.8, box, joints, PosedPerson(1.0, mask, landmarks))


def answers_for(people: tuple[FoundPerson, ...], *, crossed: bool) -> Answers:
    """Hints that see those people; BodyPix takes each leg for the other one where `crossed`."""
    size = (HEIGHT // HINT_STRIDE + 1, WIDTH // HINT_STRIDE + 1)
    hints = np.zeros((len(HINTS), *size), np.uint8)
    rows, columns = (
        np.minimum(np.arange(cells) * HINT_STRIDE, end - 1)
        for cells, end in zip(size, (HEIGHT, WIDTH), strict=True)
    )
    for each in people:
        seen = each.posed.mask_HW[np.ix_(rows, columns)] > 0
        hints[8:10, seen] = 255
        middle = each.joints_J3[11:13, 0].mean()
        legs = seen & (rows[:, None] > 170)
        for right, side in ((False, columns > middle), (True, columns <= middle)):
            hints[5 if right != crossed else 4, legs & side] = 255
        hints[3, seen & ~legs] = 255
    return Answers(people, hints)


def classes_of(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """A subject around x = 60 in a T-shirt with bare legs and shoes, and a bag."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[20:170, 36:84] = names.index("t-shirt")
    classes[170:300, 36:84] = names.index(SKIN)
    classes[300:310, 36:56] = classes[300:310, 64:84] = names.index(SHOES)
    classes[150:180, 84:92] = names.index(BAG)
    return classes


@pytest.fixture(scope="module")
def names(data_dir: Path) -> tuple[str, ...]:
    """The classes of the street photos."""
    return read_class_names(data_dir / "ccp")


@pytest.mark.parametrize("crossed", [False, True])
def test_a_bystander_becomes_a_person_and_disputed_limbs_keep_both_sides(
    names: tuple[str, ...], crossed: bool
) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    answers = answers_for((person_at(60), person_at(180)), crossed=crossed)
    photo = label_photo("a", image, classes_of(names), names, answers)
    picture = photo.picture
    assert photo.num_bystanders == 1
    assert (picture.people_HW[40:160, 170:190] == 2).all()
    assert (picture.parts_HW[40:160, 170:190] == VOID).all()
    assert (picture.teacher_HW[40:300, 170:190] > 0).all()
    assert (picture.people_HW[40:160, 40:80] == 1).all()
    assert (picture.parts_HW[40:160, 40:80] == PARTS.index("upper-clothes")).all()
    assert (picture.people_HW[:, 110:130] == 0).all()
    assert (picture.teacher_HW[155:175, 86:90] == CARRIED).all()
    assert picture.joints_NJ3.shape == (2, 17, 3)
    leg, shoe = picture.parts_HW[250, 75], picture.parts_HW[305, 75]
    if crossed:
        assert photo.disputed == (LEGS,)
        assert leg == VOID
        assert picture.teacher_HW[250, 75] == EITHER_SIDE[LEGS[0]]
        assert picture.people_HW[250, 75] == 1
    else:
        assert photo.disputed == ()
        assert leg == PARTS.index("left-leg")
        assert shoe == PARTS.index("left-shoe")
    assert EITHER_SIDE[FEET[0]] != EITHER_SIDE[LEGS[0]]


def test_a_photo_without_bystanders_is_as_it_was(names: tuple[str, ...]) -> None:
    photo = label_photo(
        "a", np.zeros((HEIGHT, WIDTH, 3), np.uint8), classes_of(names), names,
        answers_for((person_at(60),), crossed=False),
    )  # fmt: skip
    assert photo.num_bystanders == 0
    assert set(np.unique(photo.picture.people_HW)) <= {0, 1, VOID}


def test_masks_find_their_joints_and_lose_their_outlines() -> None:
    people = np.zeros((HEIGHT, WIDTH), np.uint8)
    people[20:310, 156:204], people[20:310, 36:84], people[:10, :10] = 1, 2, 3
    found = (person_at(60), person_at(180))
    matched = match(found, people, 3)
    assert matched == [found[1], found[0], None]
    inner = without_edges(people)
    assert inner[100, 156] == inner[100, 155] == VOID
    assert inner[100, 158] == 1
    assert (inner[:, 100:140] == 0).all()


def test_real_masks_keep_their_people(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "coco_people"
    for folder, name in (("images", "000000000785.jpg"), ("masks", "000000000785.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).symlink_to(source / folder / name)
    (tmp_path / "images" / "unlabelled.jpg").symlink_to(source / "images" / "000000000785.jpg")
    [picture] = label_instances(tmp_path, Teachers(data_dir / "weights", tmp_path / "answers"))
    mask = cv2.imread(str(source / "masks/000000000785.png"), cv2.IMREAD_UNCHANGED)
    share = float(np.mean(mask == 1))
    assert 0.8 * share < (picture.people_HW == 1).mean() < share
    assert picture.joints_NJ3.shape == (1, 17, 3)
    assert picture.joints_NJ3[0, :, 2].mean() > 0.3
    inside = picture.people_HW == 1
    assert (picture.parts_HW[inside] == VOID).all()
    assert np.mean(np.isin(picture.teacher_HW[inside], range(1, PERSON + 1))) > 0.5
    with pytest.raises(ValueError, match="no folder of masks"):
        (tmp_path / "masks").rename(tmp_path / "other")
        next(label_instances(tmp_path, Teachers(data_dir / "weights", tmp_path / "answers")))
