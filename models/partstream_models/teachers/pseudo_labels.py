"""Labels of a picture where its teachers agree, and void where they don't.

MoveNet and BlazePose find people and their masks; BodyPix and the VOC DeepLab find person pixels and body
regions without telling one person from another. A pixel belongs to a person where BlazePose says so and one
of the other two agrees, or where the person is found with great certainty; it is background where no network
finds a person; all else is void. `part_answers` then narrows the parts of void pixels down.

Shape suffixes: H height, W width, c hint channels, h and w the hint grid, N people, J joints (17, COCO
order).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID
from partstream_evaluation.ccp import HINT_STRIDE, upsample_hints
from partstream_models.networks.movenet import NUM_JOINTS
from partstream_models.teachers.limbs import SKELETON, bone_distance
from partstream_models.teachers.part_answers import answers_of
from partstream_models.teachers.people import FoundPerson

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_PRESENT, _SURE_PRESENT, _SURE_SCORE = 0.5, 0.9, 0.45
_IN, _SURE_IN, _OUT = 0.8, 0.9, 0.05
_AGREED = 0.35
_NOBODY = 0.4
_ON_BONES = 0.06
"""Pixels this near to a person's bones, against the longer side of the box, need no second network."""
_OTHER_PERSON = 0.7
"""Pixels this near to another person's bones, against the own ones, have an uncertain owner."""
_LEAST_PIXELS = 150
_LEAST_KEPT = 0.6
"""Of BlazePose's mask that must be agreed for a person to count."""
_MARGIN = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """Labels that the teachers agree on."""

    parts_HW: UInt8Array
    """0 where nobody is, 255 void elsewhere."""
    people_HW: UInt8Array
    """Number + 1 of the person, 0 nobody, 255 void."""
    teacher_HW: UInt8Array
    """Partial answers about parts (`data.photos.partial_labels`)."""
    joints_NJ3: Float32Array
    """x, y and score of each person's joints."""


@dataclass(frozen=True, slots=True)
class OwnedPixels:
    """Person of each pixel."""

    people_HW: UInt8Array
    """Number + 1 of the person, 0 nobody, 255 void."""
    people: tuple[FoundPerson, ...]
    """By number."""


def largest_person(hints_chw: UInt8Array, size: tuple[int, int]) -> BoolArray:
    """The largest connected region that the VOC DeepLab takes for people, bool [H, W]."""
    grid = upsample_hints(hints_chw, *size)[9]
    seen = (grid > 0.5 * 255 * HINT_STRIDE * HINT_STRIDE).astype(np.uint8)
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats(seen)
    if count < 2:
        return np.zeros(size, bool)
    largest = 1 + int(np.argmax(np.asarray(statistics)[1:, cv2.CC_STAT_AREA]))
    return np.asarray(pieces == largest)


def agree(found: Sequence[FoundPerson], hints_chw: UInt8Array, size: tuple[int, int]) -> PseudoLabels:
    """Labels of a picture of that height and width.

    Args:
        found: People, best first.
        hints_chw: Of BodyPix and DeepLab (`hints`).
        size: Height and width.
    """
    owned = own_pixels(found, hints_chw, size)
    parts = np.where(owned.people_HW == 0, 0, VOID).astype(np.uint8)
    return PseudoLabels(
        parts,
        owned.people_HW,
        answers_of(parts, owned.people_HW, hints_chw, owned.people),
        joints_of(owned.people),
    )


def own_pixels(found: Sequence[FoundPerson], hints_chw: UInt8Array, size: tuple[int, int]) -> OwnedPixels:
    """The owner of each pixel, where the networks agree; arguments as for `agree`."""
    body, person = _seen(hints_chw, size)
    present = [each for each in found if each.posed.presence > _PRESENT]
    claims = [_claim(each, np.maximum(body, person)) for each in present]
    owners = _owners(present, claims, size)
    people = np.full(size, VOID, np.uint8)
    claimed = np.zeros(size, np.float32)
    for each in found:
        np.maximum(claimed, each.posed.mask_HW, out=claimed)
    nobody = (claimed < _OUT) & (body < _NOBODY) & (person < _NOBODY)
    people[cv2.erode(nobody.astype(np.uint8), _MARGIN, borderValue=1) > 0] = 0
    kept: list[FoundPerson] = []
    for number, each in enumerate(present):
        mine = owners == number + 1
        whole = int((each.posed.mask_HW > _IN).sum())
        if mine.sum() < _LEAST_PIXELS or mine.sum() < _LEAST_KEPT * whole or len(kept) >= VOID - 1:
            continue
        kept.append(each)
        people[mine] = len(kept)
    return OwnedPixels(people, tuple(kept))


def joints_of(people: Sequence[FoundPerson | None]) -> Float32Array:
    """MoveNet's joints, [N, 17, 3]; zero where a person is not found."""
    rows = [np.zeros((NUM_JOINTS, 3), np.float32) if each is None else each.joints_J3 for each in people]
    return np.stack(rows) if rows else np.zeros((0, NUM_JOINTS, 3), np.float32)


def _seen(hints_chw: UInt8Array, size: tuple[int, int]) -> tuple[Float32Array, Float32Array]:
    """Any body by BodyPix and person by DeepLab at each pixel, 0..1."""
    scale = np.float32(255 * HINT_STRIDE * HINT_STRIDE)
    body, person = upsample_hints(hints_chw[8:10], *size).astype(np.float32) / scale
    return body, person


def _claim(found: FoundPerson, seen_HW: Float32Array) -> BoolArray:
    """Pixels of a person by BlazePose that another network or the bones confirm, or of a certain person."""
    mask = found.posed.mask_HW
    confirmed = seen_HW > _AGREED
    if found.posed.presence > _SURE_PRESENT:
        reach = _ON_BONES * float((found.box_4[2:] - found.box_4[:2]).max())
        confirmed |= bone_distance(found.joints_J3, SKELETON, mask.shape) < reach
        if found.score > _SURE_SCORE:
            confirmed |= mask > _SURE_IN
    claim: BoolArray = (mask > _IN) & confirmed
    return claim


def _owners(
    found: list[FoundPerson], claims: list[BoolArray], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Number + 1 of the person each claimed pixel belongs to, 0 nobody, -1 uncertain.

    A pixel claimed by several people goes to the one whose bones are clearly nearest.
    """
    owners = np.zeros(size, np.int64)
    nearest, second = np.full(size, np.inf, np.float32), np.full(size, np.inf, np.float32)
    for number, (each, claim) in enumerate(zip(found, claims, strict=True)):
        bones = bone_distance(each.joints_J3, SKELETON, size)
        distance = np.where(claim, np.minimum(bones, 1e6), np.inf).astype(np.float32)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owners[closer], nearest = number + 1, np.minimum(nearest, distance)
    owners[(second < np.inf) & (nearest > _OTHER_PERSON * second)] = -1
    return owners
