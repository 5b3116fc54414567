"""Pose2Seg, fusion, the Pose Modules, and Algorithm 1 traced by hand."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from partstream_core.joints import NUM_JOINTS
from partstream_models.networks.dequantised import Convolution
from partstream_models.networks.posenet import TREE, PoseMaps, PoseNet, decode_people
from partstream_models.selfsupervised.algorithm import AlgorithmConfig, label_iou, run
from partstream_models.selfsupervised.gbsr import GBSRConfig, PosedFrame
from partstream_models.selfsupervised.pose import POSENET_FILE, PoseNetModule, joint_loss, picture_map
from partstream_models.selfsupervised.segmentation import (
    LIGHT,
    SKELETON_CHANNELS,
    Labelled,
    PoseSegmenter,
    Segmenter,
    SegNetwork,
    TuneConfig,
    draw_skeletons,
    fuse,
    pose2seg_network,
    to_tensor,
)
from partstream_models.selfsupervised.tpr import TPRConfig

WEIGHTS = Path(os.environ.get("PARTSTREAM_DATA", "../shared/data")) / "weights"


def test_fusion_is_equation_10() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1, 3, 2, 2)).astype(np.float32)
    found = fuse(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    for y in range(2):
        for x in range(2):
            powers = [np.exp(float(first[0, c, y, x]) + float(second[0, c, y, x])) for c in range(3)]
            for c in range(3):
                assert found[0, c, y, x] == pytest.approx(powers[c] / sum(powers), abs=1e-5)
    with pytest.raises(ValueError, match="shapes differ"):
        fuse(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3, 3))


def test_skeletons_are_drawn_where_joints_are_visible() -> None:
    person = np.zeros((NUM_JOINTS, 3), np.float32)
    person[5], person[7] = (10, 12, 0.9), (30, 12, 0.9)
    person[9] = (40, 30, 0.1)
    drawn = draw_skeletons(person[None], (48, 64), least_score=0.3)
    assert drawn.shape == (SKELETON_CHANNELS, 48, 64)
    assert drawn[5, 12, 10] == 1 and drawn[7, 12, 30] == 1 and drawn[-1, 12, 20] == 1
    assert drawn[9].sum() == 0 and drawn[-1, 21:].sum() == 0
    assert set(np.flatnonzero(drawn.sum(axis=(1, 2)))) == {5, 7, NUM_JOINTS}


def test_pose2seg_differs_from_the_seg_module_by_its_input_layer_alone() -> None:
    torch.manual_seed(0)
    seg, pose = SegNetwork(num_classes=3, config=LIGHT), pose2seg_network(num_classes=3, config=LIGHT)
    own, other = seg.state_dict(), pose.state_dict()
    assert own.keys() == other.keys()
    differing = [name for name in own if own[name].shape != other[name].shape]
    assert differing == ["feature.trunk.stem_conv.weight"]
    assert other[differing[0]].shape[1] == own[differing[0]].shape[1] + SKELETON_CHANNELS
    # with no weight on the skeleton it is the Seg Module
    own = {**own, differing[0]: torch.cat([own[differing[0]], torch.zeros(16, SKELETON_CHANNELS, 7, 7)], 1)}
    pose.load_state_dict(own)
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.inference_mode():
        found = pose(torch.cat([image, torch.rand(1, SKELETON_CHANNELS, 32, 48)], dim=1))
        assert torch.allclose(found, seg(image), atol=1e-5)


def test_pose2seg_learns_a_mask_that_only_the_skeleton_tells() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = np.full((4, 32, 32, 3), 100, np.uint8)  # nothing to see
    labels = np.zeros((4, 32, 32), np.uint8)
    people = []
    for frame, x in enumerate((6, 12, 18, 24)):
        person = np.full((NUM_JOINTS, 3), (x, 0, 0.9), np.float32)
        person[:, 1] = np.linspace(8, 24, NUM_JOINTS)
        people.append(person[None])
        labels[frame, 6:26, x - 4 : x + 4] = 1
    module = PoseSegmenter(
        pose2seg_network(num_classes=2, config=LIGHT), TuneConfig(num_steps=120, rate=4e-3), rng
    )
    module.fine_tune(images, people, labels)
    found = module.activations(images, people).argmax(dim=1).numpy()
    assert label_iou(found, labels) > 0.6


def test_replay_keeps_what_was_learned() -> None:
    torch.manual_seed(0)
    dark, light = np.full((2, 32, 32, 3), 40, np.uint8), np.full((2, 32, 32, 3), 220, np.uint8)
    ones, zeros = np.ones((2, 32, 32), np.uint8), np.zeros((2, 32, 32), np.uint8)
    network = SegNetwork(num_classes=2, config=LIGHT)
    module = Segmenter(
        network,
        TuneConfig(num_steps=40, batch=2, rate=3e-3),
        np.random.default_rng(0),
        Labelled(to_tensor(light), ones),
    )
    module.fine_tune(dark, zeros)
    assert module.activations(dark).argmax(dim=1).float().mean() < 0.1
    assert module.activations(light).argmax(dim=1).float().mean() > 0.9


def test_void_is_not_learned() -> None:
    torch.manual_seed(0)
    images = np.full((2, 32, 32, 3), 100, np.uint8)
    network = SegNetwork(num_classes=2, config=LIGHT)
    before = network(to_tensor(images)).detach()
    module = Segmenter(network, TuneConfig(num_steps=1, rate=1e-3), np.random.default_rng(0))
    module.fine_tune(images, np.full((2, 32, 32), 255, np.uint8))
    assert torch.allclose(module.activations(images), before, atol=0.05)


class Pose:
    """Finds one fixed person, and counts what it is taught."""

    def __init__(self) -> None:
        self.num_taught = 0

    def find(self, images_THWC: np.ndarray) -> list[PosedFrame]:
        people = np.zeros((0, NUM_JOINTS, 3), np.float32)
        return [PosedFrame(people, (picture_map(image),)) for image in images_THWC]

    def fine_tune(self, images_THWC: np.ndarray, people: Sequence[np.ndarray]) -> None:
        assert len(images_THWC) == len(people)
        self.num_taught += 1


class Scripted:
    """Gives the activations of each round in turn."""

    def __init__(self, rounds: list[list[float]]) -> None:
        self._rounds, self._round = rounds, 0
        self.taught: list[list[int]] = []

    def activations(self, images_THWC: np.ndarray, *people: object) -> Tensor:
        assert len(people) <= 1
        values = torch.tensor(self._rounds[min(self._round, len(self._rounds) - 1)])
        person = values.reshape(1, 1, 1, 4).expand(len(images_THWC), 1, 1, 4)
        return torch.cat([torch.zeros_like(person), person], dim=1)

    def fine_tune(self, images_THWC: np.ndarray, *taught: object) -> None:
        labels = taught[-1]
        assert isinstance(labels, np.ndarray) and len(labels) == len(images_THWC)
        self.taught.append(labels[0, 0].tolist())
        self._round += 1


def still(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    assert image.shape == other.shape
    return np.zeros((*image.shape[:2], 2), np.float32)


def test_algorithm_1_as_traced_by_hand() -> None:
    # Four pixels, two frames that stand still, N_TPR = 0: the TPR Module's activations are the Seg Module's.
    # round   seg of "person"   pose2seg          sum               labels    IoU with the last round
    #   1     -1 -1 -1  1       2 -3 -3  1        1 -4 -4  2        1 0 0 1
    #   2      1 -1  2  1       1 -1 -3  1        2 -2 -1  2        1 0 0 1   1: it ends
    # and where pose2seg gives 1 1 1 1 in round 2:     2  0  3  2   1 0 1 1   2/3; round 3 the same: 1
    images = np.full((2, 1, 4, 3), 50, np.uint8)
    rows = [[-1.0, -1, -1, 1], [1.0, -1, 2, 1]]
    config = AlgorithmConfig(tpr=TPRConfig(num_rounds=0))
    for pose_rows, labels, ious in (
        ([[2.0, -3, -3, 1], [1.0, -1, -3, 1]], [[1, 0, 0, 1]] * 2, (1.0,)),
        ([[2.0, -3, -3, 1], [1.0, 1, 1, 1]], [[1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 1, 1]], (2 / 3, 1.0)),
    ):
        seg, pose, pose2seg = Scripted(rows), Pose(), Scripted(pose_rows)
        outcome = run(
            images,
            seg=seg,
            pose=pose,
            pose2seg=pose2seg,
            config=config,
            flow_of=still,
        )
        assert outcome.ious == pytest.approx(ious)
        assert seg.taught == pose2seg.taught == labels
        assert outcome.labels_THW[1, 0].tolist() == labels[-1]
        assert outcome.num_rounds == pose.num_taught == len(labels)


def test_labels_that_never_settle_end_after_the_most_rounds() -> None:
    turns = [[1.0, -1, 1, -1], [-1.0, 1, -1, 1]] * 4
    outcome = run(
        np.full((2, 1, 4, 3), 50, np.uint8),
        seg=Scripted(turns),
        pose=Pose(),
        pose2seg=Scripted(turns),
        config=AlgorithmConfig(tpr=TPRConfig(num_rounds=0), gbsr=GBSRConfig(num_rounds=2), most_rounds=4),
        flow_of=still,
    )
    assert outcome.num_rounds == 4 and outcome.ious == (0, 0, 0)


def test_iou_is_the_mean_over_classes_without_background() -> None:
    first, second = np.array([[[0, 1, 1, 2]]], np.uint8), np.array([[[0, 1, 2, 2]]], np.uint8)
    assert label_iou(first, second) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert label_iou(first * 0, first * 0) == 1


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="similar"):
        AlgorithmConfig(similar=0)
    with pytest.raises(ValueError, match="most_rounds"):
        AlgorithmConfig(most_rounds=0)
    with pytest.raises(ValueError, match="steps"):
        TuneConfig(batch=0)


def planted(joints: np.ndarray) -> PoseMaps:
    """Maps that PoseNet would give of these people [N, J, 2] (x, y)."""
    size = (12, 12)
    heat = np.full((NUM_JOINTS, *size), -8.0, np.float32)
    offsets = np.zeros((2, NUM_JOINTS, *size), np.float32)
    ways = np.zeros((2, 2, len(TREE), *size), np.float32)
    for person in joints:
        for joint, (x, y) in enumerate(person):
            row, column = round(y / 16), round(x / 16)
            heat[joint, row, column] = 3.0 + 0.01 * joint
            offsets[:, joint, row, column] = y - row * 16, x - column * 16
        for number, (parent, child) in enumerate(TREE):
            for way, (start, end) in enumerate(((parent, child), (child, parent))):
                x, y = person[start]
                step = person[end] - person[start]
                ways[way, :, number, round(y / 16), round(x / 16)] = step[1], step[0]
    as_batch = [torch.from_numpy(each.reshape(1, -1, *size)) for each in (heat, offsets, ways[0], ways[1])]
    return PoseMaps(*as_batch)


def test_people_who_are_planted_in_the_maps_are_decoded() -> None:
    rng = np.random.default_rng(5)
    cells = np.stack([np.arange(NUM_JOINTS) % 5, np.arange(NUM_JOINTS) // 5 * 2 + 1], axis=1)
    people = np.stack([cells, cells + np.array([6, 0])]) * 16.0 + rng.uniform(-3, 3, (2, NUM_JOINTS, 2))
    found = decode_people(planted(people))
    assert len(found) == 2
    order = np.argsort(found[:, 0, 0])
    assert np.allclose(found[order][..., :2], people, atol=1e-3)
    assert len(decode_people(planted(people), most=1)) == 1
    assert decode_people(planted(people[:0])).shape == (0, NUM_JOINTS, 3)


def test_the_joint_loss_is_least_at_the_joints_themselves() -> None:
    person = np.full((1, NUM_JOINTS, 3), (50, 70, 1), np.float32)
    y, x = np.indices((8, 8)) * 16.0
    inside = np.hypot(x - 50, y - 70) <= 24
    heat = torch.from_numpy(np.where(inside, 9.0, -9.0).astype(np.float32)).expand(NUM_JOINTS, 8, 8)
    offsets = torch.from_numpy(np.stack([70 - y, 50 - x]).astype(np.float32))
    offsets = offsets[:, None].expand(2, NUM_JOINTS, 8, 8).reshape(2 * NUM_JOINTS, 8, 8)
    assert float(joint_loss(heat, offsets, person)) < 1e-3
    assert float(joint_loss(heat, offsets + 8, person)) == pytest.approx(0.5, abs=0.01)
    person[..., 2] = 0  # not visible: nothing is learned inside the disc
    assert float(joint_loss(heat, offsets + 8, person)) < 1e-3
    assert float(joint_loss(-heat, offsets, person)) > 1


def test_other_weights_than_posenets_are_refused() -> None:
    layer = Convolution("x", torch.zeros(4, 3, 1, 1), torch.zeros(4), 1, 1, False, None)
    with pytest.raises(ValueError, match="not PoseNet's"):
        PoseNet([layer] * 31)
    with pytest.raises(ValueError, match="no pretrained weights"):
        PoseNet.from_file(Path("missing.pt"))


@pytest.mark.data
def test_posenet_finds_the_person_whom_movenet_finds_and_learns() -> None:
    path, reference = WEIGHTS / POSENET_FILE, WEIGHTS / "movenet_multipose_reference.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with np.load(reference) as file:
        image = next(file[name] for name in file.files if file[name].shape == (288, 512, 3))
        answer = next(file[name] for name in file.files if file[name].shape == (6, 56))
    truth = answer[0, :51].reshape(NUM_JOINTS, 3)[:, 1::-1] * (512, 288)
    module = PoseNetModule(PoseNet.from_file(path), num_steps=2, longer_side=512)
    small = cv2.resize(image, (256, 144), interpolation=cv2.INTER_AREA)
    for picture, scale in ((image, 1.0), (small, 2.0)):
        (frame,) = module.find(picture[None])
        assert len(frame.people_NJ3) == 1
        away = np.linalg.norm(frame.people_NJ3[0, :, :2] * scale - truth, axis=1)
        assert np.median(away) < 10
    before = module.network.weights[0].detach().clone()
    module.fine_tune(image[None], [frame.people_NJ3 * (2, 2, 1)])
    assert not torch.equal(before, module.network.weights[0])
