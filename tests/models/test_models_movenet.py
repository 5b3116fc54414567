"""MoveNet MultiPose gives the answers of the public model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partstream_core import joints
from partstream_models.networks.movenet import JointMaps, MoveNet, read_movenet
from partstream_models.networks.movenet_decode import find_people, refine_joints


@pytest.fixture(scope="module")
def weights(data_dir: Path) -> Path:
    return data_dir / "weights"


@pytest.fixture(scope="module")
def movenet(weights: Path) -> MoveNet:
    network = MoveNet()
    network.load_pretrained(weights / "movenet_multipose.npz")
    return network.eval()


def test_the_reference_picture_has_the_public_models_answer(movenet: MoveNet, weights: Path) -> None:
    reference = np.load(weights / "movenet_multipose_reference.npz")
    image, row = reference["image"], reference["output"][0]
    people = find_people(movenet, image)
    width, height = image.shape[1], image.shape[0]
    joints = row[:51].reshape(17, 3)[:, [1, 0]] * [width, height]
    box = row[[52, 51, 54, 53]] * [width, height, width, height]
    one_percent = [0.01 * width, 0.01 * height]
    assert (np.abs(people.joints_NJ3[0, :, :2] - joints) < one_percent).all()
    assert (np.abs(people.boxes_N4[0] - box) < one_percent * 2).all()
    assert people.scores_N[0] == pytest.approx(row[55], abs=0.1)
    assert people.scores_N[1] < 0.05


def test_the_trunk_has_4_7_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in MoveNet().trunk.parameters()) == 4_698_920


def test_sides_that_are_no_multiples_of_32_are_refused() -> None:
    with pytest.raises(ValueError, match="100x64"):
        find_people(MoveNet(), np.zeros((100, 64, 3), np.uint8))


def test_a_joint_is_the_peak_near_its_first_guess() -> None:
    heat = torch.zeros(1, 17, 12, 16)
    heat[0, :, 3, 4], heat[0, :, 9, 14] = 0.6, 0.9
    offsets = torch.full((1, 34, 12, 16), 0.25)
    maps = JointMaps(torch.zeros(1, 1, 12, 16), heat, torch.zeros(1, 34, 12, 16), offsets)
    guesses = torch.tensor([3.0, 5.0]).expand(1, 17, 2)
    expected = torch.tensor([4.25 * 4, 3.25 * 4, 0.6]).expand(1, 17, 3)
    torch.testing.assert_close(refine_joints(maps, guesses), expected)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"no archive"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz"):
        read_movenet(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ValueError, match="is not MoveNet MultiPose: it has no"):
        MoveNet().load_pretrained(path)
    with pytest.raises(ValueError, match="no pretrained weights at"):
        read_movenet(tmp_path / "missing.npz")


def test_the_host_finds_the_joints_that_the_networks_own_decode_finds(
    movenet: MoveNet, weights: Path
) -> None:
    """Where a person is alone; beside others, the host's decode leaves each their own joints."""
    image = np.load(weights / "movenet_multipose_reference.npz")["image"]
    with torch.inference_mode():
        maps, _, _ = movenet(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)
    on_host = joints.JointMaps(maps.centers[0, 0].numpy(), *(each[0].numpy() for each in maps[1:]))
    (found_J3,) = joints.decode_joints(on_host, np.ones((1, *on_host.centers_hw.shape), bool))
    expected_J3 = find_people(movenet, image).joints_NJ3[0]
    sure_J = expected_J3[:, 2] >= joints.SURE
    assert sure_J.sum() >= 10
    np.testing.assert_allclose(found_J3[sure_J] * [4, 4, 1], expected_J3[sure_J], atol=1e-3)
