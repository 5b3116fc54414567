"""A contact sheet of labelled pictures: the picture, its people with their joints, and the partial answers.

Void is striped. The sheet holds photos, so it is for the eyes of those who may see the photos.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import PALETTE, VOID
from partstream_models.data.scenes.labelled import LabelledPicture
from partstream_models.teachers.limbs import SKELETON

UInt8Array = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 240, 320
"""Of each of the three drawings of a picture."""
_COLUMNS = 2
_SEEN = 0.3
_LEFT, _RIGHT, _MIDDLE = (255, 255, 0), (0, 255, 255), (255, 255, 255)


def contact_sheet(pictures: Sequence[LabelledPicture]) -> UInt8Array:
    """All pictures, two a row, RGB [H, W, 3].

    Raises:
        ValueError: There are none.
    """
    if not pictures:
        raise ValueError("no picture to draw")
    cells = [_cell(picture) for picture in pictures]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % _COLUMNS)
    rows = [np.concatenate(cells[start : start + _COLUMNS], 1) for start in range(0, len(cells), _COLUMNS)]
    return np.concatenate(rows, 0)


def _cell(picture: LabelledPicture) -> UInt8Array:
    image = picture.image_HWC
    drawn = [image, _people(picture), _blend(image, picture.teacher_HW, picture.teacher_HW > 0)]
    scale = min(HEIGHT / image.shape[0], WIDTH / image.shape[1])
    size = (max(int(image.shape[1] * scale), 1), max(int(image.shape[0] * scale), 1))
    cell = np.zeros((HEIGHT, 3 * WIDTH, 3), np.uint8)
    for column, each in enumerate(drawn):
        left = column * WIDTH
        cell[: size[1], left : left + size[0]] = cv2.resize(each, size, interpolation=cv2.INTER_AREA)
    cv2.putText(cell, picture.name[-44:], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 64, 64))
    return cell


def _people(picture: LabelledPicture) -> UInt8Array:
    people = picture.people_HW
    drawn = _blend(picture.image_HWC, people, (people > 0) & (people < VOID))
    rows, columns = np.indices(people.shape)
    drawn[(people == VOID) & ((rows + columns) % 8 < 2)] = 200
    for joints in picture.joints_NJ3:
        for one, other in SKELETON:
            if min(joints[one, 2], joints[other, 2]) > _SEEN:
                colour = _MIDDLE if one % 2 != other % 2 else _LEFT if one % 2 else _RIGHT
                start, end = (tuple(int(value) for value in joints[row, :2]) for row in (one, other))
                cv2.line(drawn, (start[0], start[1]), (end[0], end[1]), colour, 2)
    return drawn


def _blend(image_HWC: UInt8Array, numbers_HW: UInt8Array, where_HW: npt.NDArray[np.bool_]) -> UInt8Array:
    drawn = image_HWC.copy()
    drawn[where_HW] = (0.45 * image_HWC[where_HW] + 0.55 * PALETTE[numbers_HW[where_HW]]).astype(np.uint8)
    return drawn
