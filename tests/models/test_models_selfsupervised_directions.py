"""The experiment on the framework's modules: what is hidden, what counts as found, and the table."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from partstream_core.joints import NUM_JOINTS
from partstream_models.commands.selfsupervised import table
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import draw_clip
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.selfsupervised.gbsr import PosedFrame
from partstream_models.selfsupervised.light_segmentation import LightSegNetwork
from partstream_models.selfsupervised.pose import picture_map
from partstream_models.selfsupervised.segmentation import TuneConfig
from partstream_models.training.selfsupervised_directions import (
    Directions,
    DirectionsConfig,
    damage,
    hide_joints,
    joints_found,
    measure,
    true_joints,
)

STILL = ClipConfig(num_frames=3, max_people=1, empty_share=0, cut_share=0, upper_body_share=0)


def one_person(x: float, y: float) -> np.ndarray:
    """Joints of one person on a grid of 10 pixels, all clear, [1, J, 3]."""
    number = np.arange(NUM_JOINTS)
    joints = np.stack([x + number % 4 * 10, y + number // 4 * 10, np.full(NUM_JOINTS, 0.9)], axis=1)
    return joints[None].astype(np.float32)


class Everywhere:
    """Finds the same person in every frame, without the joints that a square of one colour hides."""

    def find(self, images_THWC: np.ndarray) -> list[PosedFrame]:
        frames = []
        for image in images_THWC:
            people = one_person(40, 16)
            for joint, (x, y) in enumerate(np.rint(people[0, :, :2]).astype(int).tolist()):
                around = image[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
                people[0, joint, 2] = 0.05 if (around == around[0]).all() else 0.9
            frames.append(PosedFrame(people, (picture_map(image),)))
        return frames

    def fine_tune(self, images_THWC: np.ndarray, people: Sequence[np.ndarray]) -> None:
        assert len(images_THWC) == len(people)


def network(extra_channels: int) -> LightSegNetwork:
    made = LightSegNetwork(num_classes=2)
    made.widen_input(extra_channels)
    return made


def test_the_light_pose2seg_starts_as_the_seg_module() -> None:
    torch.manual_seed(0)
    plain = LightSegNetwork(num_classes=2).eval()
    wider = copy.deepcopy(plain)
    wider.widen_input(18)
    image, skeleton = torch.rand(1, 3, 32, 64) * 2 - 1, torch.rand(1, 18, 32, 64)
    with torch.inference_mode():
        assert torch.allclose(wider(torch.cat([image, skeleton], dim=1)), plain(image), atol=1e-5)
        assert plain(image).shape == (1, 2, 32, 64)


def test_a_damaged_frame_is_blurred_and_dark() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    damaged = damage(image, blur=3, brightness=0.35)
    assert damaged.mean() == pytest.approx(0.35 * image.mean(), rel=0.05)
    assert damaged.std() < 0.2 * image.std()


def test_true_joints_follow_the_exact_flow_and_only_people_have_some(photos: PhotoCache) -> None:
    clip = draw_clip(photos, seed=3, number=0, height=64, width=96, config=STILL)
    y, x = np.argwhere((clip.instances_THW[0] > 0) & clip.flow(0, 1).visible_HW)[20]
    people = np.full((1, NUM_JOINTS, 3), (x, y, 0.8), np.float32)
    people[0, 3, :2] = np.argwhere(clip.instances_THW[0] == 0)[0][::-1]
    moved = true_joints(clip, people)
    assert np.allclose(moved[0, 0, :2], (x, y) + clip.flow(0, 1).flow_HW2[y, x])
    assert moved[0, 0, 2] == pytest.approx(0.8) and moved[0, 3, 2] == 0


def test_hidden_joints_are_covered_in_the_middle_frame_alone() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 80, 120, 3)).astype(np.uint8)
    truth = one_person(40, 16)
    hidden_images, hidden = hide_joints(images, truth, 5, rng)
    assert np.array_equal(hidden_images[[0, 2]], images[[0, 2]])
    assert hidden.sum() == 4  # a third of the 12 joints of body and limbs
    for joint in range(NUM_JOINTS):
        x, y = truth[0, joint, :2].astype(int)
        patch = hidden_images[1, y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        assert bool((patch == patch[0]).all()) == bool(hidden[0, joint])


def test_a_joint_counts_as_found_near_its_place_and_above_the_score() -> None:
    truth, found = one_person(0, 0), one_person(0, 0)
    reach = 0.1 * float(np.hypot(30, 40))
    found[0, 5, 0] += reach * 0.9
    found[0, 6, 0] += reach * 1.1
    found[0, 7, 2] = 0.29
    expected = np.ones(NUM_JOINTS, bool)
    expected[[6, 7]] = False
    assert np.array_equal(joints_found(found, truth, near=0.1)[0], expected)
    assert not joints_found(found[:0], truth, near=0.1).any()


def test_the_experiment_runs_and_its_table_has_every_figure(photos: PhotoCache) -> None:
    config = DirectionsConfig(
        size=(64, 128),
        num_learned=2,
        num_judged=2,
        num_steps=2,
        rounds=(1, 2),
        tune=TuneConfig(num_steps=1, batch=2),
        clip=STILL,
    )
    directions = measure(
        photos, seed=1, light=Everywhere(), published=Everywhere, make_network=network, config=config
    )
    assert len(directions.person_iou) == 5 and all(0 <= each <= 1 for each in directions.person_iou.values())
    assert set(directions.joints_found) == set(directions.joints_kept)
    lines = table([directions, directions]).splitlines()
    assert len(lines) == 2 + 5 + 2 * len(directions.joints_found)
    first = Directions({"Seg Module": 0.25}, {}, {})
    second = Directions({"Seg Module": 0.75}, {}, {})
    assert "| 0.500 | 0.250, 0.750 |" in table([first, second])


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="three frames"):
        DirectionsConfig(clip=ClipConfig(num_frames=4))
