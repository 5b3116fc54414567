"""Pictures with real masks of people; teachers add joints and body regions.

A folder holds `images/` and `masks/`, with the same stems: PNGs of one channel, 0 nobody, 1..K people, 255
not known.

Shape suffixes: H height, W width.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID
from partstream_evaluation.ccp import read_label_map
from partstream_models.data.scenes.labelled import LabelledPicture
from partstream_models.data.scenes.pictures import PICTURES
from partstream_models.teachers.answers import Teachers
from partstream_models.teachers.part_answers import answers_of
from partstream_models.teachers.people import FoundPerson
from partstream_models.teachers.pseudo_labels import joints_of
from partstream_models.teachers.reading import read_picture, shrink_labels

UInt8Array = npt.NDArray[np.uint8]

_SAME_PERSON = 0.4
_EDGE = np.ones((3, 3), np.uint8)


def label_instances(folder: Path, teachers: Teachers) -> Iterator[LabelledPicture]:
    """Pictures of a folder with masks; pictures that cannot be read, or have no mask, are left out.

    Raises:
        ValueError: The folder has no `images/` or no `masks/`.
    """
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise ValueError(f"no folder of {name} in {folder}")
    for path in sorted(each for each in (folder / "images").iterdir() if each.suffix.lower() in PICTURES):
        image = read_picture(path)
        try:
            masks = read_label_map(folder / "masks" / f"{path.stem}.png")
        except ValueError:
            continue
        if image is None:
            continue
        people = without_edges(shrink_labels(masks, (image.shape[0], image.shape[1])))
        answers = teachers(image)
        matched = match(answers.people, people, int(masks[masks < VOID].max(initial=0)))
        parts = np.where(people == 0, 0, VOID).astype(np.uint8)
        said = answers_of(parts, people, answers.hints_chw, matched)
        yield LabelledPicture(f"{folder.name}/{path.name}", image, parts, people, said, joints_of(matched))


def without_edges(people_HW: UInt8Array) -> UInt8Array:
    """The masks with their outlines void: polygons are drawn a pixel or two beside them."""
    edges = cv2.dilate(people_HW, _EDGE) != cv2.erode(people_HW, _EDGE)
    return np.where(edges, VOID, people_HW).astype(np.uint8)


def match(found: Sequence[FoundPerson], people_HW: UInt8Array, number: int) -> list[FoundPerson | None]:
    """The found person of each mask, by overlap; None where there is none."""
    matched: list[FoundPerson | None] = []
    for person in range(1, number + 1):
        mine = people_HW == person
        overlaps = [_overlap(each.posed.mask_HW > 0.5, mine) for each in found]
        best = int(np.argmax(overlaps)) if overlaps else 0
        matched.append(found[best] if overlaps and overlaps[best] > _SAME_PERSON else None)
    return matched


def _overlap(one_HW: npt.NDArray[np.bool_], other_HW: npt.NDArray[np.bool_]) -> float:
    return float((one_HW & other_HW).sum() / max(int((one_HW | other_HW).sum()), 1))
