"""Street photos with part labels (CCP): teachers find the people whom the labels leave out.

Shape suffixes: H height, W width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS, VOID
from partstream_evaluation.ccp import part_map, read_class_names, read_label_map
from partstream_models.data.photos.cache import read_photo
from partstream_models.data.photos.partial_labels import EITHER_SIDE, mark_carried
from partstream_models.data.scenes.labelled import LabelledPicture
from partstream_models.teachers.answers import Answers, Teachers
from partstream_models.teachers.part_answers import answers_of
from partstream_models.teachers.people import FoundPerson
from partstream_models.teachers.pseudo_labels import joints_of, own_pixels
from partstream_models.teachers.reading import shrink, shrink_labels
from partstream_models.teachers.sides import ARMS, FEET, LEGS, count_sides

UInt8Array = npt.NDArray[np.uint8]

_SUBJECT = 0.5
"""Of a person's mask that lies on the labelled person."""
_MAYBE = 0.12
_PARTS_OF_LIMBS = {ARMS: "arm", LEGS: "leg", FEET: "shoe"}


@dataclass(frozen=True, slots=True)
class StreetPhoto:
    """A street photo whose labelled person is number 1; the others are void or bystanders."""

    picture: LabelledPicture
    num_bystanders: int
    disputed: tuple[tuple[int, int], ...]
    """Limbs of the labelled person whose left and right BodyPix and the joints tell otherwise (`sides`)."""


def label_street_photos(
    data_dir: Path, photo_ids: Sequence[str], teachers: Teachers
) -> Iterator[StreetPhoto]:
    """The photos of those ids; photos that cannot be read are left out.

    Raises:
        ValueError: The folder is not CCP's.
    """
    names = read_class_names(data_dir)
    for photo_id in photo_ids:
        try:
            image = shrink(read_photo(data_dir / "photos" / f"{photo_id}.jpg"))
            labels = read_label_map(data_dir / "labels" / f"{photo_id}.png")
        except ValueError:
            continue
        answers = teachers(image)
        classes = shrink_labels(labels, (image.shape[0], image.shape[1]))
        yield label_photo(f"{data_dir.name}/{photo_id}", image, classes, names, answers)


def label_photo(
    name: str, image_HWC: UInt8Array, classes_HW: UInt8Array, names: tuple[str, ...], answers: Answers
) -> StreetPhoto:
    """One photo with its labels, its bystanders and their joints.

    Args:
        name: Of the picture.
        image_HWC: RGB.
        classes_HW: CCP's classes.
        names: Of the classes, by number.
        answers: Of the teachers.
    """
    parts = part_map(classes_HW, answers.hints_chw, names)
    labelled = (parts > 0) & (parts < VOID)
    subject, bystanders = _tell_apart(answers.people, labelled)
    owned = own_pixels(bystanders, answers.hints_chw, parts.shape)
    others = ~labelled & (owned.people_HW > 0) & (owned.people_HW < VOID)
    maybe = np.zeros(parts.shape, bool)
    for each in bystanders:
        maybe |= each.posed.mask_HW > _MAYBE
    parts[~labelled & maybe] = VOID
    people = np.where(parts == VOID, VOID, labelled).astype(np.uint8)
    people[others] = owned.people_HW[others] + 1
    limbs = () if subject is None else count_sides(answers.hints_chw, subject)
    disputed = tuple(each.limbs for each in limbs if each.disputed)
    vetoed = _veto(parts, disputed)
    said = answers_of(parts, people, answers.hints_chw, (subject, *owned.people))
    said[vetoed > 0] = vetoed[vetoed > 0]
    mark_carried(said, classes_HW, names)
    joints = joints_of((subject, *owned.people))
    picture = LabelledPicture(name, image_HWC, parts, people, said, joints)
    return StreetPhoto(picture, len(owned.people), disputed)


def _tell_apart(
    found: Sequence[FoundPerson], labelled_HW: npt.NDArray[np.bool_]
) -> tuple[FoundPerson | None, list[FoundPerson]]:
    """The person who is labelled, and those who are not."""
    subject: FoundPerson | None = None
    most, bystanders = 0, []
    for each in found:
        mask = each.posed.mask_HW > 0.5
        shared = int((mask & labelled_HW).sum())
        if shared <= _SUBJECT * int(mask.sum()):
            bystanders.append(each)
        elif shared > most:
            subject, most = each, shared
    return subject, bystanders


def _veto(parts_HW: UInt8Array, disputed: Sequence[tuple[int, int]]) -> UInt8Array:
    """Make the parts of disputed limbs void, in place; the answers that allow both sides, 0 elsewhere."""
    answers = np.zeros(parts_HW.shape, np.uint8)
    for limbs in disputed:
        sided = [PARTS.index(f"{side}-{_PARTS_OF_LIMBS[limbs]}") for side in ("left", "right")]
        where = np.isin(parts_HW, sided)
        answers[where] = EITHER_SIDE[limbs[0]]
        parts_HW[where] = VOID
    return answers
