"""Labelling pictures with all teachers, and the file that training reads (`data.scenes.labelled`).

Shape suffixes: H height, W width, C colour channels (RGB).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from partstream_models.data.scenes.labelled import FORMAT, NUM_PLANES, LabelledPicture
from partstream_models.networks.movenet import NUM_JOINTS
from partstream_models.teachers.answers import Teachers
from partstream_models.teachers.pseudo_labels import agree
from partstream_models.teachers.reading import NamedPicture


def label_people(pictures: Iterable[NamedPicture], teachers: Teachers) -> Iterator[LabelledPicture]:
    """Pictures of people, labelled where all teachers agree."""
    for picture in pictures:
        answers = teachers(picture.image_HWC)
        height, width = picture.image_HWC.shape[:2]
        labels = agree(answers.people, answers.hints_chw, (height, width))
        yield LabelledPicture(
            picture.name,
            picture.image_HWC,
            labels.parts_HW,
            labels.people_HW,
            labels.teacher_HW,
            labels.joints_NJ3,
        )


def label_empty(pictures: Iterable[NamedPicture]) -> Iterator[LabelledPicture]:
    """Pictures without people, which need no teacher."""
    for picture in pictures:
        blank = np.zeros(picture.image_HWC.shape[:2], np.uint8)
        joints = np.zeros((0, NUM_JOINTS, 3), np.float32)
        yield LabelledPicture(picture.name, picture.image_HWC, blank, blank, blank, joints)


def build(cache_dir: Path, pictures: Iterable[LabelledPicture]) -> int:
    """Write labelled pictures; return how many.

    Raises:
        ValueError: There are none.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    (cache_dir / "index.json").unlink(missing_ok=True)  # a build that is cut short must not look finished
    rows: list[dict[str, object]] = []
    start = 0
    with (cache_dir / "pictures.bin").open("wb") as file:
        for picture in pictures:
            for plane in (picture.image_HWC, picture.parts_HW, picture.people_HW, picture.teacher_HW):
                file.write(np.ascontiguousarray(plane).tobytes())
            height, width = picture.image_HWC.shape[:2]
            joints = picture.joints_NJ3.round(2).ravel().tolist()
            rows.append(
                {"name": picture.name, "height": height, "width": width, "start": start, "joints": joints}
            )
            start += NUM_PLANES * height * width
    if not rows:
        raise ValueError("no picture to label")
    draft = cache_dir / "index.json.part"
    draft.write_text(json.dumps({"format": FORMAT, "pictures": rows}))
    draft.replace(cache_dir / "index.json")
    return len(rows)
