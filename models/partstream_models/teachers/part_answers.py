"""Partial answers about the parts of people: BodyPix's regions, with left and right where joints agree.

Shape suffixes: H height, W width, c hint channels, h and w the hint grid, J joints (17, COCO order).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID
from partstream_evaluation.ccp import HINT_STRIDE, upsample_hints
from partstream_models.data.photos.partial_labels import EITHER_SIDE, PERSON, teacher_map
from partstream_models.teachers.limbs import LIMB_OF_ANSWER, bone_distance, same_sides
from partstream_models.teachers.people import FoundPerson
from partstream_models.teachers.sides import JOINTS_OF_LIMB, OTHER_SIDE

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_SURE = 0.7


def answers_of(
    parts_HW: UInt8Array,
    people_HW: UInt8Array,
    hints_chw: UInt8Array,
    people: Sequence[FoundPerson | None],
) -> UInt8Array:
    """Answers at void pixels (`data.photos.partial_labels`), [H, W].

    Inside people: regions where BodyPix is sure, else PERSON. Outside: the same where BodyPix and DeepLab are
    both sure, else nothing. A limb is left or right where BodyPix and the joints of both networks agree.

    Args:
        parts_HW: Parts, 255 void.
        people_HW: Number + 1 of the person, 0 nobody, 255 void.
        hints_chw: Of BodyPix and DeepLab (`hints`).
        people: The people whose numbers `people_HW` holds; None where no network finds that person.
    """
    said = teacher_map(parts_HW, hints_chw)
    owned = (parts_HW == VOID) & (people_HW > 0) & (people_HW < VOID)
    body = upsample_hints(hints_chw[8:9], *parts_HW.shape)[0] >= _SURE * 255 * HINT_STRIDE**2
    said[~owned & ((said > PERSON) | ~body)] = 0
    said[owned & ((said == 0) | (said > PERSON))] = PERSON
    answers = said.copy()
    for sided, either in EITHER_SIDE.items():
        answers[said == sided] = either
    for number, found in enumerate(people):
        if found is not None:
            _confirm_sides(answers, said, people_HW == number + 1, found)
    return answers


def _confirm_sides(
    answers_HW: UInt8Array, said_HW: UInt8Array, mine_HW: BoolArray, found: FoundPerson
) -> None:
    """Write the side that BodyPix said where the joints say the same, in place."""
    for limbs, joints in JOINTS_OF_LIMB.items():
        sided = mine_HW & ((said_HW == limbs[0]) | (said_HW == limbs[1]))
        if not sided.any() or not same_sides(found.joints_J3, found.posed.joints_J3, joints):
            continue
        left, right = (
            bone_distance(found.joints_J3, LIMB_OF_ANSWER[answer], mine_HW.shape)[sided] for answer in limbs
        )
        values, said = answers_HW[sided], said_HW[sided]
        for answer, own, other in ((limbs[0], left, right), (limbs[1], right, left)):
            values[(said == answer) & (own < OTHER_SIDE * other)] = answer
        answers_HW[sided] = values
