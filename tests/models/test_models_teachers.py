"""Teachers: crops map there and back, agreement makes labels, sides come from joints, caches are whole."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.labels import VOID
from partstream_evaluation.ccp import HINT_STRIDE, HINTS
from partstream_models.commands.teach import main
from partstream_models.data.photos.partial_labels import PERSON
from partstream_models.data.scenes.labelled import LabelledPeople, LabelledPicture
from partstream_models.teachers.answers import Teachers, read_answers
from partstream_models.teachers.blazepose import LANDMARK_OF_JOINT, MIRRORED_LANDMARKS, PosedPerson
from partstream_models.teachers.labelling import build, label_empty, label_people
from partstream_models.teachers.people import FoundPerson, PeopleFinder
from partstream_models.teachers.pseudo_labels import agree, largest_person
from partstream_models.teachers.reading import read_pictures
from partstream_models.teachers.sheet import HEIGHT as SHEET_HEIGHT
from partstream_models.teachers.sheet import contact_sheet
from partstream_models.teachers.sides import ARMS, LEGS, count_sides

HEIGHT, WIDTH = 160, 128
LEFT_ARM, RIGHT_ARM, EITHER_ARM = 2, 3, 12


def joints_at(x: float, *, score: float = 0.9) -> NDArray[np.float32]:
    """An upright person around x whose left side is on the right of the picture."""
    places = np.zeros((17, 3), np.float32)
    places[:, 0], places[:, 2] = x, score
    places[:5, 1] = 30
    for row, (dx, y) in {
        5: (10, 50), 6: (-10, 50), 7: (18, 70), 8: (-18, 70), 9: (20, 90), 10: (-20, 90),
        11: (6, 90), 12: (-6, 90), 13: (6, 120), 14: (-6, 120), 15: (6, 150), 16: (-6, 150),
    }.items():  # fmt: skip
        places[row, :2] = x + dx, y
    return places


def person_at(
    x: int, *, score: float = 0.9, presence: float = 1.0, width: int = 40, swapped: bool = False
) -> FoundPerson:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[20:156, max(x - width // 2, 0) : x + width // 2] = 1
    joints = joints_at(x)
    landmarks = np.zeros((33, 3), np.float32)
    landmarks[list(LANDMARK_OF_JOINT)] = joints
    if swapped:
        landmarks = landmarks[list(MIRRORED_LANDMARKS)]
    box = np.array([x - width // 2, 20, x + width // 2, 156], np.float32)
    return FoundPerson(score, box, joints, PosedPerson(presence, mask, landmarks))


def hints_of(seen: NDArray[np.float32], *, region: int | None = None) -> NDArray[np.uint8]:
    """Hints of networks that see a person where the grid is 1, all of one region."""
    grid = np.zeros((len(HINTS), HEIGHT // HINT_STRIDE + 1, WIDTH // HINT_STRIDE + 1), np.uint8)
    grid[8:10] = (255 * seen).astype(np.uint8)
    if region is not None:
        grid[region - 1] = 255
    return grid


ALL = np.ones((HEIGHT // HINT_STRIDE + 1, WIDTH // HINT_STRIDE + 1), np.float32)


def test_a_person_that_both_sides_see_is_labelled_and_the_rest_is_background() -> None:
    seen = ALL * 0
    seen[:, 2:6] = 1
    labels = agree((person_at(64),), hints_of(seen), (HEIGHT, WIDTH))
    inside = person_at(64).posed.mask_HW > 0
    assert (labels.people_HW[inside] == 1).all()
    assert (labels.parts_HW[inside] == VOID).all()
    assert (labels.teacher_HW[inside] == PERSON).mean() > 0.8
    assert (labels.people_HW[:, :12] == 0).all()
    assert (labels.parts_HW[:, :12] == 0).all()
    assert labels.joints_NJ3.shape == (1, 17, 3)


def test_people_whom_only_one_network_sees_are_void() -> None:
    only_masks = agree((person_at(64, score=0.3, presence=0.8),), hints_of(ALL * 0), (HEIGHT, WIDTH))
    inside = person_at(64).posed.mask_HW > 0
    assert (only_masks.people_HW[inside] == VOID).all()
    only_hints = agree((), hints_of(ALL), (HEIGHT, WIDTH))
    assert (only_hints.people_HW == VOID).all()
    assert not agree((), hints_of(ALL * 0), (HEIGHT, WIDTH)).people_HW.any()


def test_a_certain_person_counts_though_the_others_fail() -> None:
    labels = agree((person_at(64, score=0.7),), hints_of(ALL * 0), (HEIGHT, WIDTH))
    assert (labels.people_HW[person_at(64).posed.mask_HW > 0] == 1).all()


def test_where_two_masks_meet_the_nearer_bones_own_and_the_middle_is_void() -> None:
    left, right = person_at(44, width=60), person_at(84, width=60)
    labels = agree((left, right), hints_of(ALL), (HEIGHT, WIDTH))
    assert (labels.people_HW[60:140, 40:48] == 1).all()
    assert (labels.people_HW[60:140, 80:88] == 2).all()
    assert (labels.people_HW[110:140, 64] == VOID).all()


@pytest.mark.parametrize(("region", "confirmed"), [(LEFT_ARM, slice(80, 86)), (RIGHT_ARM, slice(42, 48))])
def test_a_limb_has_a_side_where_joints_and_bodypix_agree(region: int, confirmed: slice) -> None:
    labels = agree((person_at(64, width=56),), hints_of(ALL, region=region), (HEIGHT, WIDTH))
    arms = labels.teacher_HW[72:88]
    assert (arms[:, confirmed] == region).all()
    other = slice(42, 48) if region == LEFT_ARM else slice(80, 86)
    assert (arms[:, other] == EITHER_ARM).all()
    assert (arms[:, 64] == EITHER_ARM).all()


def test_sides_are_left_open_where_the_two_pose_networks_contradict_each_other() -> None:
    person = person_at(64, width=56, swapped=True)
    labels = agree((person,), hints_of(ALL, region=LEFT_ARM), (HEIGHT, WIDTH))
    assert (labels.teacher_HW[72:88, 42:86] == EITHER_ARM).all()
    assert count_sides(hints_of(ALL, region=LEFT_ARM), person) == ()


def test_bodypix_contradicting_the_joints_of_a_limb_is_a_dispute() -> None:
    person = person_at(64, width=56)
    votes = {each.limbs: each for each in count_sides(hints_of(ALL, region=LEFT_ARM), person)}
    assert votes[ARMS].disputed
    assert 0.3 < votes[ARMS].num_against / votes[ARMS].num_cells < 0.7
    assert not votes[LEGS].disputed
    right = hints_of(ALL, region=RIGHT_ARM)
    right[1, :, 4:], right[2, :, 4:] = 255, 0
    votes = {each.limbs: each for each in count_sides(right, person)}
    assert votes[ARMS].num_cells > 6
    assert votes[ARMS].num_against == 0


def test_people_whom_bodypix_and_deeplab_alone_are_sure_of_keep_their_regions() -> None:
    labels = agree((), hints_of(ALL, region=1), (HEIGHT, WIDTH))
    assert (labels.people_HW == VOID).all()
    assert (labels.teacher_HW == 1).all()
    only_deeplab = hints_of(ALL)
    only_deeplab[8] = 0
    assert not agree((), only_deeplab, (HEIGHT, WIDTH)).teacher_HW.any()


def test_the_largest_person_is_one_connected_region() -> None:
    seen = ALL * 0
    seen[2:5, 1:3] = 1
    seen[8:9, 6:7] = 1
    region = largest_person(hints_of(seen), (HEIGHT, WIDTH))
    assert region[50, 30]
    assert not region[128, 100]
    assert not largest_person(hints_of(ALL * 0), (HEIGHT, WIDTH)).any()


@pytest.mark.parametrize("name", ["pose_landmark_heavy.tflite", "movenet_multipose.npz"])
def test_a_missing_or_damaged_teacher_is_named(data_dir: Path, tmp_path: Path, name: str) -> None:
    weights = tmp_path / "weights"
    (weights / "teachers").mkdir(parents=True)
    for path in ("movenet_multipose.npz", "teachers/pose_landmark_heavy.tflite"):
        (weights / path).symlink_to(data_dir / "weights" / path)
    damaged = next(weights.rglob(name))
    damaged.unlink()
    with pytest.raises(ValueError, match=name):
        PeopleFinder(weights)
    damaged.write_bytes(b"not a network")
    with pytest.raises(ValueError, match=name):
        PeopleFinder(weights)


@pytest.fixture(scope="module")
def reference(data_dir: Path) -> NDArray[np.uint8]:
    """A picture of one person, RGB."""
    with np.load(data_dir / "weights/movenet_multipose_reference.npz") as file:
        image: NDArray[np.uint8] = file["image"]
    return image


def test_labelled_pictures_are_read_as_they_were_made(
    data_dir: Path, tmp_path: Path, reference: NDArray[np.uint8]
) -> None:
    folder, cache, answers = tmp_path / "photos", tmp_path / "cache", tmp_path / "answers"
    (folder / "empty").mkdir(parents=True)
    cv2.imwrite(str(folder / "photo.png"), reference[..., ::-1])
    cv2.imwrite(str(folder / "empty" / "wall.png"), np.full((40, 60, 3), 90, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    teachers = Teachers(data_dir / "weights", answers)

    def label() -> list[LabelledPicture]:
        pictures = read_pictures([folder], leave_out=[folder / "empty"])
        return [*label_people(pictures, teachers), *label_empty(read_pictures([folder / "empty"]))]

    assert build(cache, label()) == 2
    people = pickle.loads(pickle.dumps(LabelledPeople(cache)))  # noqa: S301 - our own
    assert [people[number].name for number in range(len(people))] == ["photos/photo.png", "empty/wall.png"]
    assert np.array_equal(people[0].image_HWC, reference)
    assert people[0].people_HW[110:160, 290:300].tolist() == np.ones((50, 10)).tolist()
    assert people[0].joints_NJ3.shape == (1, 17, 3)
    assert not people[1].parts_HW.any()
    assert not people[1].people_HW.any()
    [kept] = answers.iterdir()
    made, first = kept.stat().st_mtime_ns, people[0].people_HW.copy()
    label()
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(kept.read_bytes()[:2000])
    assert read_answers(kept) is None
    assert np.array_equal(label()[0].people_HW, first)


def test_a_portrait_and_a_picture_on_its_head_are_found_and_masked(
    data_dir: Path, reference: NDArray[np.uint8]
) -> None:
    find = PeopleFinder(data_dir / "weights")
    [upright] = find(reference)
    assert upright.posed.presence > 0.9
    whole = upright.posed.mask_HW > 0.5
    x1, y1, x2, y2 = (int(value) for value in upright.box_4)
    outside = whole.copy()
    outside[max(y1 - 20, 0) : y2 + 20, max(x1 - 20, 0) : x2 + 20] = False
    assert outside.sum() < 0.02 * whole.sum()
    height, width = reference.shape[:2]
    [turned] = find(np.ascontiguousarray(reference[::-1, ::-1]))
    assert overlap(turned.posed.mask_HW[::-1, ::-1] > 0.5, whole) > 0.9
    hips = [width - 1, height - 1] - turned.joints_J3[[11, 12], :2]
    assert np.abs(hips - upright.joints_J3[[11, 12], :2]).max() < 0.05 * width
    bottom, left, right = int(upright.joints_J3[[5, 6], 1].max()) + 15, max(x1 - 30, 0), x2 + 30
    [portrait] = find(np.ascontiguousarray(reference[max(y1 - 10, 0) : bottom, left:right]))
    assert overlap(portrait.posed.mask_HW > 0.5, whole[max(y1 - 10, 0) : bottom, left:right]) > 0.75


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_contact_sheet_shows_each_picture_thrice() -> None:
    people = np.zeros((20, 40), np.uint8)
    people[:, :20], people[:, 20:30] = 1, VOID
    picture = LabelledPicture(
        "a", np.full((20, 40, 3), 100, np.uint8), people, people, people, np.zeros((1, 17, 3), np.float32)
    )
    sheet = contact_sheet([picture] * 3)
    assert sheet.shape[0] == 2 * SHEET_HEIGHT
    assert not sheet[SHEET_HEIGHT:, sheet.shape[1] // 2 :].any()
    third = sheet.shape[1] // 6
    assert (sheet[50, :third] == 100).all()
    assert (sheet[50, third : third + 100] != 100).any()
    with pytest.raises(ValueError, match="no picture to draw"):
        contact_sheet([])


def test_a_cache_cut_short_and_none_at_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="partstream-teach makes them"):
        LabelledPeople(tmp_path)
    (tmp_path / "pictures.bin").write_bytes(b"1234")
    (tmp_path / "index.json").write_text(
        '{"format": 1, "pictures": [{"name": "a", "height": 4, "width": 4, "start": 0, "joints": []}]}'
    )
    with pytest.raises(ValueError, match="is damaged: delete"):
        LabelledPeople(tmp_path)


def test_the_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--weights", str(tmp_path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "no pretrained weights at" in capsys.readouterr().err
