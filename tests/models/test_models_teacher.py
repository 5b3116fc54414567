"""What pretrained networks say where labels say nothing, and what the parsing learns from it."""

import math
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch

from partstream_core.labels import FLIP_PAIRS as PART_PAIRS
from partstream_core.labels import PARTS, VOID
from partstream_evaluation.ccp import HINTS
from partstream_models.data.clips.layers import cut_sprite
from partstream_models.data.photos.cache import Photo, PhotoCache
from partstream_models.data.photos.partial_labels import (
    ALLOWED,
    CARRIED,
    FLIP_PAIRS,
    NOBODY,
    PERSON,
    allowed_parts,
    carried_by,
    flip_answers,
    mark_carried,
    teacher_map,
)
from partstream_models.data.scenes.compose import cut_out
from partstream_models.training.live_losses import LiveLoss, LossConfig


def hints(**values: float) -> npt.NDArray[np.uint8]:
    """The same hints everywhere."""
    grid = np.zeros((len(HINTS), 3, 3), np.uint8)
    for name, value in values.items():
        grid[HINTS.index(name.replace("_", "-"))] = round(value * 255)
    return grid


def answer(**values: float) -> int:
    parts = np.full((32, 32), VOID, np.uint8)
    found = np.unique(teacher_map(parts, hints(**values)))
    assert len(found) == 1
    return int(found[0])


def test_only_void_pixels_are_answered() -> None:
    parts = np.zeros((32, 32), np.uint8)
    parts[:, 16:] = VOID
    found = teacher_map(parts, hints(person=1.0))
    assert (found[:, :16] == 0).all()
    assert (found[:, 16:] == PERSON).all()


def test_what_is_not_sure_is_no_answer() -> None:
    assert answer(person=0.5, body=0.5, face=1.0) == 0
    assert answer(person=0.9, body=0.3, face=1.0) == PERSON
    assert answer(person=0.9, body=0.9, face=0.5, torso=0.5) == PERSON
    assert answer(person=0.1, body=0.4) == 0


@pytest.mark.parametrize("region", HINTS[:8])
def test_a_sure_region_allows_its_own_parts(region: str) -> None:
    said = answer(person=1.0, body=1.0, **{region.replace("-", "_"): 1.0})
    part = {"torso": "torso-skin", "left-foot": "left-shoe", "right-foot": "right-shoe"}.get(region, region)
    assert part in ALLOWED[said]
    assert "background" not in ALLOWED[said]
    assert not {"left-arm", "left-leg", "left-shoe"} & set(ALLOWED[said]) or "right" not in region


def test_a_place_without_people_allows_background_alone() -> None:
    assert answer() == NOBODY
    assert ALLOWED[NOBODY] == ("background",)


def test_mirrored_answers_allow_mirrored_parts() -> None:
    swap = {PARTS[left]: PARTS[right] for left, right in PART_PAIRS}
    swap |= {right: left for left, right in swap.items()}
    for said in range(len(ALLOWED)):
        mirrored = int(flip_answers(np.full((1, 2), said, np.uint8))[0, 0])
        assert {swap.get(name, name) for name in ALLOWED[said]} == set(ALLOWED[mirrored])
    assert flip_answers(np.array([[1, 2, 3]], np.uint8)).tolist() == [[2, 3, 1]]
    assert (2, 3) in FLIP_PAIRS


def test_the_loss_is_what_the_allowed_parts_lack() -> None:
    answers = torch.zeros(1, 8, 8, dtype=torch.uint8)
    answers[:, :4] = 1  # face, hair, hat or sunglasses
    loss = LiveLoss(config=LossConfig(teacher=1.0), num_identities=2, class_weights=torch.ones(len(PARTS)))
    logits = torch.zeros(1, len(PARTS), 8, 8)
    term = loss._teacher(logits, answers)
    assert float(term) == pytest.approx(-math.log(4 / 20), rel=1e-5)
    logits[:, PARTS.index("hair")] = 20.0
    assert float(loss._teacher(logits, answers)) == pytest.approx(0, abs=1e-5)
    logits[:, PARTS.index("pants")] = 40.0
    assert float(loss._teacher(logits, answers)) > 5
    assert allowed_parts().shape == (len(ALLOWED), len(PARTS))


def test_bags_are_carried_by_whom_they_touch() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:10, 10:14], labels[2:6, 25:28] = 7, 7
    answers = np.zeros_like(labels)
    mark_carried(answers, labels, ["null", "a", "b", "c", "purse", "wallet", "d", "bag"])
    assert (answers[labels == 7] == CARRIED).all()
    assert not answers[labels == 0].any()
    person = np.zeros(labels.shape, bool)
    person[4:18, 4:10] = True
    held = carried_by(answers, person)
    assert held[5:10, 10:14].all()
    assert held.sum() == 20
    assert not carried_by(np.zeros_like(labels), person).any()


def test_what_is_carried_goes_with_the_person_but_is_background() -> None:
    photo = photo_with_a_bag()
    sprites = [cut_sprite(photo, np.random.default_rng(seed), height=64) for seed in range(12)]
    areas = [(int((sprite.parts_HW > 0).sum()), int(sprite.mask_HW.sum())) for sprite in sprites if sprite]
    with_bag = [mask > parts for parts, mask in areas]
    assert 6 <= sum(with_bag) <= 11
    cutouts = [cut_out(cast(PhotoCache, [photo]), 0, np.random.default_rng(seed)) for seed in range(12)]
    assert 6 <= sum(int(each.mask_HW.sum()) > int((each.parts_HW > 0).sum()) for each in cutouts) <= 11
    assert all((each.mask_HW[each.parts_HW > 0] == 1).all() for each in cutouts)


def photo_with_a_bag() -> Photo:
    parts = np.zeros((64, 48), np.uint8)
    parts[4:60, 12:28] = 5
    teacher = np.zeros_like(parts)
    teacher[30:44, 28:40] = CARRIED
    image = np.full((64, 48, 3), 90, np.uint8)
    return Photo("0001", image, parts, image, teacher)
