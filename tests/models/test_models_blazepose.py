"""BlazePose: crops are upright, answers lie where the picture shows them, a bad file is named."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_models.networks.movenet import MoveNet
from partstream_models.networks.movenet_decode import find_people
from partstream_models.teachers.blazepose import SIDE, BlazePose, crop_of

HEAVY = "weights/teachers/pose_landmark_heavy.tflite"


def torso(angle: float) -> NDArray[np.float32]:
    """Joints of a person around (64, 80), turned clockwise by an angle."""
    joints = np.zeros((17, 3), np.float32)
    joints[:, 2] = 0.9
    places = np.array([[10, -20], [-10, -20], [6, 20], [-6, 20]], np.float32)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    joints[:, :2] = [64, 80]
    joints[[5, 6, 11, 12], :2] = places @ turn.T + [64, 80]
    return joints


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi, -2.0])
def test_the_torso_is_upright_in_the_crop(angle: float) -> None:
    crop = crop_of(np.array([20, 20, 108, 140], np.float32), torso(angle))
    matrix = crop.to_crop()
    cut = torso(angle)[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    up = cut[[5, 6]].mean(axis=0) - cut[[11, 12]].mean(axis=0)
    assert up[0] == pytest.approx(0, abs=1e-3)
    assert up[1] < 0
    assert (matrix @ [64, 80, 1]).tolist() == pytest.approx([(SIDE - 1) / 2] * 2)


def test_a_turned_picture_gives_the_turned_mask_and_landmarks(data_dir: Path) -> None:
    movenet = MoveNet().eval()
    movenet.load_pretrained(data_dir / "weights/movenet_multipose.npz")
    with np.load(data_dir / "weights/movenet_multipose_reference.npz") as file:
        image = file["image"]
    people = find_people(movenet, image)
    box, joints = people.boxes_N4[0], people.joints_NJ3[0]
    blazepose = BlazePose(data_dir / HEAVY)
    upright = blazepose(image, crop_of(box, joints))
    assert upright.presence > 0.9
    height, width = image.shape[:2]
    turned_box = np.array([width - box[2], height - box[3], width - box[0], height - box[1]], np.float32)
    turned_joints = joints.copy()
    turned_joints[:, :2] = np.array([width - 1, height - 1]) - joints[:, :2]
    turned = blazepose(np.ascontiguousarray(image[::-1, ::-1]), crop_of(turned_box, turned_joints))
    one, other = upright.mask_HW > 0.5, turned.mask_HW[::-1, ::-1] > 0.5
    assert (one & other).sum() > 0.95 * (one | other).sum()
    back = np.array([width - 1, height - 1]) - turned.landmarks_J3[:, :2]
    assert np.abs(back - upright.landmarks_J3[:, :2]).max() < 0.02 * width
    assert np.abs(upright.joints_J3[[11, 12], :2] - joints[[11, 12], :2]).max() < 0.05 * width


def test_a_missing_or_damaged_file_is_named(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "pose_landmark_heavy.tflite"
    with pytest.raises(ValueError, match="no teacher at"):
        BlazePose(path)
    path.write_bytes((data_dir / HEAVY).read_bytes()[:100_000])
    with pytest.raises(ValueError, match="cannot be read"):
        BlazePose(path)
