"""Labels of a picture where its teachers agree, and void where they don't.

MoveNet and BlazePose find people and their masks; BodyPix and the VOC DeepLab find person pixels and body
regions without telling one person from another. A pixel belongs to a person where BlazePose says so and one
of the other two agrees, or where the person is found with great certainty; it is background where no network
finds a person; all else is void. Left and right come from the joints.

Shape suffixes: H height, W width, C colour channels (RGB), c hint channels, h and w the hint grid, N people,
J joints (17, COCO order).
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.ccp import HINT_STRIDE, upsample_hints
from partstream_core.labels import VOID
from partstream_models.data.teacher import FLIP_PAIRS, PERSON, teacher_map
from partstream_models.teachers.people import FoundPerson

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_SKELETON: Final = (
    (5, 6), (11, 12), (5, 11), (6, 12), (5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14),
    (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6),
)  # fmt: skip
_LIMBS: Final = {2: ((5, 7), (7, 9)), 3: ((6, 8), (8, 10)), 5: ((11, 13), (13, 15)), 6: ((12, 14), (14, 16)),
                 7: ((13, 15),), 8: ((14, 16),)}  # fmt: skip
"""Bones of each answer that has a side (`data.teacher`)."""
_PRESENT, _SURE_PRESENT, _SURE_SCORE = 0.5, 0.9, 0.45
_IN, _OUT = 0.5, 0.15
_AGREED = 0.35
_NOBODY = 0.2
_JOINT_SEEN = 0.3
_OTHER_PERSON = 0.7
"""Pixels this near to another person's bones, against the own ones, have an uncertain owner."""
_OTHER_SIDE = 0.75
_LEAST_PIXELS = 150
_LEAST_KEPT = 0.6
"""Of BlazePose's mask that must be agreed for a person to count."""


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """What the teachers agree on."""

    parts_HW: UInt8Array
    """0 where nobody is, 255 void elsewhere."""
    people_HW: UInt8Array
    """Number + 1 of the person, 0 nobody, 255 void."""
    teacher_HW: UInt8Array
    """Partial answers about parts (`data.teacher`)."""
    joints_NJ3: Float32Array
    """x, y and score of each person's joints."""


def largest_person(hints_chw: UInt8Array, size: tuple[int, int]) -> BoolArray:
    """The largest connected region that the VOC DeepLab takes for people, bool [H, W]."""
    grid = upsample_hints(hints_chw, *size)[9]
    seen = (grid > 0.5 * 255 * HINT_STRIDE * HINT_STRIDE).astype(np.uint8)
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats(seen)
    if count < 2:
        return np.zeros(size, bool)
    largest = 1 + int(np.argmax(np.asarray(statistics)[1:, cv2.CC_STAT_AREA]))
    return np.asarray(pieces == largest)


def agree(found: tuple[FoundPerson, ...], hints_chw: UInt8Array, size: tuple[int, int]) -> PseudoLabels:
    """Labels of a picture of that height and width.

    Args:
        found: People, best first.
        hints_chw: Of BodyPix and DeepLab (`hints`).
        size: Height and width.
    """
    grid = upsample_hints(hints_chw, *size).astype(np.float32) / (255 * HINT_STRIDE * HINT_STRIDE)
    body, person = grid[8], grid[9]
    seen = np.maximum(body, person)
    present = [each for each in found if each.posed.presence > _PRESENT]
    claims = [_claim(each, seen) for each in present]
    owners = _owners(present, claims, size)
    people = np.full(size, VOID, np.uint8)
    claimed = np.zeros(size, np.float32)
    for each in found:
        np.maximum(claimed, each.posed.mask_HW, out=claimed)
    nobody = (claimed < _OUT) & (body < _NOBODY) & (person < _NOBODY)
    nobody &= cv2.erode(nobody.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
    people[nobody] = 0
    rows: list[Float32Array] = []
    for number, each in enumerate(present):
        mine = owners == number + 1
        whole = int((each.posed.mask_HW > _IN).sum())
        if mine.sum() < _LEAST_PIXELS or mine.sum() < _LEAST_KEPT * whole or len(rows) >= VOID - 1:
            continue
        rows.append(each.joints_J3)
        people[mine] = len(rows)
    parts = np.where(people == 0, 0, VOID).astype(np.uint8)
    teacher = _answers(parts, people, hints_chw, rows)
    joints = np.stack(rows) if rows else np.zeros((0, 17, 3), np.float32)
    return PseudoLabels(parts, people, teacher, joints)


def _claim(found: FoundPerson, seen_HW: Float32Array) -> BoolArray:
    """Pixels of a person by BlazePose that somebody else confirms, or all where the person is certain."""
    mask = found.posed.mask_HW > _IN
    if found.score > _SURE_SCORE and found.posed.presence > _SURE_PRESENT:
        return mask & ((found.posed.mask_HW > 0.8) | (seen_HW > _AGREED / 2))
    return mask & (seen_HW > _AGREED)


def _owners(
    found: list[FoundPerson], claims: list[BoolArray], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Number + 1 of the person each claimed pixel belongs to, 0 nobody, -1 uncertain.

    A pixel claimed by several people goes to the one whose bones are clearly nearest.
    """
    owners = np.zeros(size, np.int64)
    nearest, second = np.full(size, np.inf, np.float32), np.full(size, np.inf, np.float32)
    for number, (each, claim) in enumerate(zip(found, claims, strict=True)):
        distance = np.where(claim, _bone_distance(each.joints_J3, _SKELETON, size), np.inf).astype(np.float32)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owners[closer], nearest = number + 1, np.minimum(nearest, distance)
    owners[(second < np.inf) & (nearest > _OTHER_PERSON * second)] = -1
    return owners


def _bone_distance(
    joints_J3: Float32Array, bones: tuple[tuple[int, int], ...], size: tuple[int, int]
) -> Float32Array:
    """Distance of each pixel to the nearest bone, plus one, in pixels; infinite where no bone is seen."""
    drawn = np.ones(size, np.uint8)
    for one, other in bones:
        if min(joints_J3[one, 2], joints_J3[other, 2]) > _JOINT_SEEN / 2:
            start, end = (tuple(int(value) for value in joints_J3[row, :2].round()) for row in (one, other))
            cv2.line(drawn, (start[0], start[1]), (end[0], end[1]), 0, 1)
    if drawn.all():
        return np.full(size, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform(drawn, cv2.DIST_L2, 3), np.float32) + 1


def _answers(
    parts_HW: UInt8Array, people_HW: UInt8Array, hints_chw: UInt8Array, joints: list[Float32Array]
) -> UInt8Array:
    """BodyPix's regions inside people, with sides by the joints; PERSON where no region is sure."""
    answers = teacher_map(parts_HW, hints_chw)
    owned = (people_HW > 0) & (people_HW < VOID)
    answers[~owned & (answers != PERSON)] = 0
    answers[owned & ((answers == 0) | (answers > PERSON))] = PERSON
    for number, joints_J3 in enumerate(joints):
        _set_sides(answers, people_HW == number + 1, joints_J3)
    return answers


def _set_sides(answers_HW: UInt8Array, mine_HW: BoolArray, joints_J3: Float32Array) -> None:
    """Left or right by the nearer limb; PERSON where it is not clear which; in place."""
    for pair in FLIP_PAIRS:
        sided = mine_HW & np.isin(answers_HW, pair)
        if not sided.any():
            continue
        left, right = (_bone_distance(joints_J3, _LIMBS[answer], mine_HW.shape)[sided] for answer in pair)
        values = np.full(len(left), PERSON, np.uint8)
        values[left < _OTHER_SIDE * right] = pair[0]
        values[right < _OTHER_SIDE * left] = pair[1]
        answers_HW[sided] = values
