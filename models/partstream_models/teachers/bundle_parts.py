"""Part labels from a bundle that was trained on labelled clothes, where the other teachers agree.

The teachers of `pseudo_labels` know regions of the body, not garments. A bundle parses each picture and its
mirror image; a pixel gets a part where both answers name it, with a high score, and BodyPix's region allows
it.

Shape suffixes: H height, W width, P parts, A answers.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import FLIP_PAIRS, VOID, flip_labels
from partstream_core.results import FrameResult
from partstream_evaluation.evaluate.runner import PartstreamCommand, part_map_of, read_photo
from partstream_models.data.photos.partial_labels import EITHER_SIDE, PERSON, allowed_parts
from partstream_models.data.scenes.labelled import LabelledPicture

UInt8Array = npt.NDArray[np.uint8]

LEAST_SCORE = 0.7
"""Of a person, and of a part."""
_CHUNK = 200
"""Pictures of one call of the command."""


def add_bundle_parts(
    pictures: Iterable[LabelledPicture], command: PartstreamCommand
) -> Iterator[LabelledPicture]:
    """The pictures, in order, with the parts that the command's bundle names (`merge_parts`).

    Raises:
        EvaluationError: The command cannot be run, or fails.
    """
    source = iter(pictures)
    while chunk := list(islice(source, _CHUNK)):
        yield from _label_chunk(chunk, command)


def _label_chunk(chunk: list[LabelledPicture], command: PartstreamCommand) -> Iterator[LabelledPicture]:
    with tempfile.TemporaryDirectory(prefix="partstream-teach-") as name:
        folder = Path(name)
        paths = []
        for number, picture in enumerate(chunk):
            for kind, image in (("upright", picture.image_HWC), ("mirrored", picture.image_HWC[:, ::-1])):
                path = folder / f"{number:04}-{kind}.png"
                if not cv2.imwrite(str(path), cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)):
                    raise OSError(f"cannot write {path}")
                paths.append(path)
        command.parse_photos(paths, folder / "found")
        for number, picture in enumerate(chunk):
            size = picture.parts_HW.shape
            upright, mirrored = (
                sure_parts(read_photo(folder / "found", path), height=size[0], width=size[1])
                for path in paths[2 * number : 2 * number + 2]
            )
            yield merge_parts(picture, upright, flip_labels(mirrored))


def sure_parts(
    frame: FrameResult, *, height: int, width: int, least_score: float = LEAST_SCORE
) -> UInt8Array:
    """Parts whose score, and whose person's score, is at least `least_score`, uint8 [H, W], 0 elsewhere."""
    people = tuple(
        replace(person, parts=tuple(part for part in person.parts if part.score >= least_score))
        for person in frame.people
        if person.score >= least_score
    )
    return part_map_of(replace(frame, people=people), height=height, width=width)


def nameable_parts() -> npt.NDArray[np.bool_]:
    """Whether an answer of the teachers lets a bundle name a part, bool [A, P].

    Answers without a region ("a person", none) let it name nothing; answers that leave the side open let it
    name no part that has a side.
    """
    table = allowed_parts() > 0
    table[:, 0] = False
    table[[0, *range(PERSON, PERSON + 3)]] = False
    sided = [part for pair in FLIP_PAIRS for part in pair]
    for answer in set(EITHER_SIDE.values()):
        table[answer, sided] = False
    return table


def merge_parts(picture: LabelledPicture, one_HW: UInt8Array, other_HW: UInt8Array) -> LabelledPicture:
    """The picture with a part at each void pixel of a person where both maps and the answer agree.

    The outermost pixel of each area stays void.
    """
    same = (one_HW == other_HW) & (one_HW > 0)
    owned = (picture.people_HW > 0) & (picture.people_HW < VOID) & (picture.parts_HW == VOID)
    allowed = nameable_parts()[picture.teacher_HW, one_HW]
    parts = picture.parts_HW.copy()
    inner = np.zeros(same.shape, bool)
    for part in np.unique(one_HW[same]):
        area = (same & (one_HW == part)).astype(np.uint8)
        inner |= cv2.erode(area, np.ones((3, 3), np.uint8), borderValue=1) > 0
    chosen = inner & owned & allowed
    parts[chosen] = one_HW[chosen]
    return replace(picture, parts_HW=parts)
