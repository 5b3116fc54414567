"""Teachers: crops map there and back, agreement makes labels, sides come from joints, caches are whole."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.ccp import HINT_STRIDE, HINTS
from partstream_core.labels import VOID
from partstream_models.data.labelled import LabelledPeople
from partstream_models.data.teacher import PERSON
from partstream_models.teach import main
from partstream_models.teachers.blazepose import SIDE, BlazePose, PosedPerson, crop_of
from partstream_models.teachers.labelling import Teachers, build, read_pictures
from partstream_models.teachers.people import FoundPerson, PeopleFinder
from partstream_models.teachers.pseudo_labels import agree, largest_person

HEIGHT, WIDTH = 160, 128
LEFT_ARM, RIGHT_ARM = 2, 3


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


def person_at(x: int, *, score: float = 0.9, presence: float = 1.0, width: int = 40) -> FoundPerson:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[20:156, max(x - width // 2, 0) : x + width // 2] = 1
    joints = joints_at(x)
    landmarks = np.zeros((33, 3), np.float32)
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


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi, -2.0])
def test_a_crop_turns_the_torso_upright(angle: float) -> None:
    joints = joints_at(0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    joints[:, :2] = (joints[:, :2] - [0, 70]) @ turn.T + [64, 80]
    crop = crop_of(np.array([20, 20, 108, 140], np.float32), joints)
    cut = joints[:, :2] @ crop.to_crop()[:, :2].T + crop.to_crop()[:, 2]
    up = cut[[5, 6]].mean(axis=0) - cut[[11, 12]].mean(axis=0)
    assert up[0] == pytest.approx(0, abs=1e-3)
    assert up[1] < 0
    middle = crop.to_crop() @ [64, 80, 1]
    assert middle.tolist() == pytest.approx([(SIDE - 1) / 2] * 2)


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


@pytest.mark.parametrize("region", [LEFT_ARM, RIGHT_ARM])
def test_joints_tell_left_from_right_whatever_bodypix_says(region: int) -> None:
    labels = agree((person_at(64, width=56),), hints_of(ALL, region=region), (HEIGHT, WIDTH))
    assert (labels.teacher_HW[72:88, 80:86] == LEFT_ARM).all()
    assert (labels.teacher_HW[72:88, 42:48] == RIGHT_ARM).all()
    assert (labels.teacher_HW[72:88, 64] == PERSON).all()


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


def test_blazepose_masks_a_real_person(data_dir: Path) -> None:
    find = PeopleFinder(data_dir / "weights")
    with np.load(data_dir / "weights/movenet_multipose_reference.npz") as file:
        image = file["image"]
    people = find(image)
    assert len(people) == 1
    assert people[0].posed.presence > 0.9
    mask = people[0].posed.mask_HW > 0.5
    x1, y1, x2, y2 = people[0].box_4
    rows, columns = np.nonzero(mask)
    assert ((columns > x1 - 20) & (columns < x2 + 20) & (rows > y1 - 20) & (rows < y2 + 20)).mean() > 0.98
    hips = people[0].joints_J3[[11, 12], :2]
    assert np.abs(people[0].posed.joints_J3[[11, 12], :2] - hips).max() < 0.05 * image.shape[1]


def test_labelled_pictures_are_read_as_they_were_made(data_dir: Path, tmp_path: Path) -> None:
    with np.load(data_dir / "weights/movenet_multipose_reference.npz") as file:
        cv2.imwrite(str(tmp_path / "photo.png"), file["image"][..., ::-1])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    cache, answers = tmp_path / "cache", tmp_path / "answers"
    teachers = Teachers(data_dir / "weights", answers)
    assert build(cache, read_pictures([tmp_path]), teachers) == 1
    [(name, image)] = read_pictures([tmp_path])
    people = pickle.loads(pickle.dumps(LabelledPeople(cache)))  # noqa: S301 - our own
    assert len(people) == 1
    assert people[0].name == name
    assert np.array_equal(people[0].image_HWC, image)
    assert people[0].people_HW[110:160, 290:300].tolist() == np.ones((50, 10)).tolist()
    assert people[0].joints_NJ3.shape == (1, 17, 3)
    kept = [path.stat().st_mtime_ns for path in answers.iterdir()]
    build(cache, read_pictures([tmp_path]), teachers)
    assert [path.stat().st_mtime_ns for path in answers.iterdir()] == kept


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


def test_a_network_that_is_no_blazepose_is_refused(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="no teacher at"):
        BlazePose(data_dir / "weights/missing.tflite")
