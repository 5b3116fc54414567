"""Partial labels from two pretrained networks where the photos' own labels are void.

About a third of the CCP photos show people whom nobody labelled. Their pixels are void, so they teach no
part; but BodyPix and the VOC DeepLab see them, and what these two are sure of narrows the parts down: a face
is hair, hat, sunglasses or face; an arm is not a shoe. The parsing loss then asks that the allowed parts
share the probability (a partial label).

Shape suffixes: H height, W width, C hint channels, h and w the hint grid's height and width, A answers,
P parts.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import NUM_PARTS, PARTS, VOID
from partstream_evaluation.ccp import HINT_STRIDE, upsample_hints

UInt8Array = npt.NDArray[np.uint8]

_SLEEVES: Final = ("upper-clothes", "dress", "coat", "gloves")
_BELOW: Final = ("pants", "skirt", "dress", "coat", "socks")
ALLOWED: Final[tuple[tuple[str, ...], ...]] = (
    PARTS,
    ("hat", "hair", "sunglasses", "face"),
    ("left-arm", *_SLEEVES),
    ("right-arm", *_SLEEVES),
    ("upper-clothes", "dress", "coat", "torso-skin", "scarf", "pants", "skirt"),
    ("left-leg", *_BELOW),
    ("right-leg", *_BELOW),
    ("left-shoe", "left-leg", "socks", "pants"),
    ("right-shoe", "right-leg", "socks", "pants"),
    PARTS[1:],
    ("background",),
    ("background",),
    ("left-arm", "right-arm", *_SLEEVES),
    ("left-leg", "right-leg", *_BELOW),
    ("left-shoe", "right-shoe", "left-leg", "right-leg", "socks", "pants"),
)
"""Parts that each answer allows: 0 no answer, 1 to 8 the body regions of the hints, then those below."""
PERSON: Final = 9
NOBODY: Final = 10
CARRIED: Final = 11
"""Not a teacher's answer but the labels': a bag. It is background, and hides what is behind it."""
EITHER_SIDE: Final = {2: 12, 3: 12, 5: 13, 6: 13, 7: 14, 8: 14}
"""Answer for an arm, leg or foot of unknown side, by the answer that names a side."""
CARRIED_SHARE: Final = 0.8
"""Of people who keep their bags when they are cut out."""
BAGS: Final = ("bag", "purse", "wallet")
FLIP_PAIRS: Final = ((2, 3), (5, 6), (7, 8))
"""Answers that change places when a picture is mirrored."""

_SURE, _UNSURE = 0.7, 0.15


def allowed_parts() -> npt.NDArray[np.float32]:
    """Whether an answer allows a part, 0 or 1, [A, P]."""
    table = np.zeros((len(ALLOWED), NUM_PARTS), np.float32)
    for answer, names in enumerate(ALLOWED):
        table[answer, [PARTS.index(name) for name in names]] = 1
    return table


def teacher_map(parts_HW: UInt8Array, hints_Chw: UInt8Array) -> UInt8Array:
    """The teachers' answer at each void pixel, 0 elsewhere and where they are not sure, uint8 [H, W]."""
    answers = np.zeros(parts_HW.shape, np.uint8)
    void = parts_HW == VOID
    if not void.any():
        return answers
    scale = 255 * HINT_STRIDE * HINT_STRIDE
    hints = upsample_hints(hints_Chw, *parts_HW.shape)[:, void].astype(np.float32) / scale
    regions, body, person = hints[:8], hints[8], hints[9]
    said = np.zeros(int(void.sum()), np.uint8)
    said[person >= _SURE] = PERSON
    sure = (person >= _SURE) & (body >= _SURE) & (regions.max(axis=0) >= _SURE)
    said[sure] = regions.argmax(axis=0)[sure] + 1
    said[(person <= _UNSURE) & (body <= _UNSURE)] = NOBODY
    answers[void] = said
    return answers


def mark_carried(answers_HW: UInt8Array, labels_HW: UInt8Array, names: Sequence[str]) -> None:
    """Write `CARRIED` where CCP's class map shows a bag, in place."""
    answers_HW[np.isin(labels_HW, [names.index(name) for name in BAGS])] = CARRIED


def carried_by(answers_HW: UInt8Array, person_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What the person of a photo holds: bags that touch the person, bool [H, W]."""
    bags = (answers_HW == CARRIED).astype(np.uint8)
    if not bags.any():
        return np.zeros(bags.shape, bool)
    _, pieces = cv2.connectedComponents(bags)
    near = cv2.dilate(person_HW.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    touching = np.unique(pieces[near & (bags > 0)])
    held: npt.NDArray[np.bool_] = np.isin(pieces, touching[touching > 0])
    return held


def flip_answers(answers_HW: UInt8Array) -> UInt8Array:
    """A mirrored picture's answers, left and right exchanged, [H, W]."""
    table = np.arange(len(ALLOWED), dtype=np.uint8)
    for left, right in FLIP_PAIRS:
        table[left], table[right] = right, left
    return np.ascontiguousarray(table[answers_HW[:, ::-1]])
