"""Results as `supervision.Detections`; needs `pip install partstream-client[supervision]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from partstream_client.errors import MissingExtraError
from partstream_client.frames import Frame
from partstream_client.people import Part, Person
from partstream_core.boxes import box_of_mask
from partstream_core.labels import PARTS

if TYPE_CHECKING:
    import supervision

PERSON_CLASS = 0
"""`class_id` of people; that of a part is its place in `partstream_core.labels.PARTS`, from 1."""


def to_supervision(frame: Frame) -> supervision.Detections:
    """The people of a frame: box, score, identity as `tracker_id`, and mask if there is one.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    people = frame.people
    return _detections(
        boxes=[person.box for person in people],
        masks=[person.mask for person in people if person.has_mask],
        scores=[person.score for person in people],
        classes=[(PERSON_CLASS, "person")] * len(people),
        identities=[person.identity for person in people],
    )


def parts_to_supervision(frame: Frame) -> supervision.Detections:
    """The parts of a frame's people; `tracker_id` is the identity of the part's owner.

    Raises:
        MissingExtraError: supervision is not installed.
        NoMaskError: The results came without masks.
    """
    found = [each for person in frame.people for each in _parts_in_sight(person)]
    return _detections(
        boxes=[_box(part) for _, part in found],
        masks=[part.mask for _, part in found],
        scores=[part.score for _, part in found],
        classes=[(PARTS.index(part.name), part.name) for _, part in found],
        identities=[person.identity for person, _ in found],
    )


def _parts_in_sight(person: Person) -> list[tuple[Person, Part]]:
    return [(person, part) for part in person.parts.values() if part.mask.any()]


def _box(part: Part) -> tuple[float, float, float, float]:
    box = box_of_mask(part.mask)
    assert box is not None
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2


def _detections(
    *,
    boxes: list[tuple[float, float, float, float]],
    masks: list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]],
    scores: list[float],
    classes: list[tuple[int, str]],
    identities: list[int],
) -> supervision.Detections:
    try:
        import supervision  # noqa: PLC0415  (an extra: whoever does not convert does not need it)
    except ImportError as error:
        raise MissingExtraError("supervision") from error
    if not boxes:
        return supervision.Detections.empty()
    return supervision.Detections(
        xyxy=np.array(boxes, np.float32),
        mask=np.stack(masks) if masks else None,
        confidence=np.array(scores, np.float32),
        class_id=np.array([number for number, _ in classes]),
        tracker_id=np.array(identities),
        data={"class_name": np.array([name for _, name in classes])},
    )
