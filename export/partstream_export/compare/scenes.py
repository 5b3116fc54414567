"""Pictures with a known number of people, for timing: labelled people of a truth folder side by side.

Shape suffixes: H height, W width, C RGB.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_evaluation.masks.truth import LabelledPicture

UInt8Array = npt.NDArray[np.uint8]

SIZE: Final = (1280, 720)
"""Width and height of a scene."""
_MARGIN: Final = 0.12
"""Kept around a person, as a share of the longer side of their box."""
_GREY: Final = (118, 120, 122)


def people_of(pictures: Sequence[LabelledPicture], number: int) -> list[Image.Image]:
    """Crops with a margin around the people of pictures from all over the list.

    Raises:
        ValueError: There are fewer pictures with people, or one is damaged.
    """
    cut: list[Image.Image] = []
    order = np.argsort(np.arange(len(pictures)) * 7919 % max(len(pictures), 1), kind="stable")
    for at in order.tolist():
        if len(cut) == number:
            break
        mask_HW = pictures[at].read_mask()
        if not mask_HW.any():
            continue
        rows, columns = (_extent(mask_HW.any(axis=axis)) for axis in (1, 0))
        margin = round(_MARGIN * max(rows.stop - rows.start, columns.stop - columns.start))
        with Image.open(pictures[at].image) as picture:
            box = (
                max(0, columns.start - margin),
                max(0, rows.start - margin),
                min(picture.width, columns.stop + margin),
                min(picture.height, rows.stop + margin),
            )
            cut.append(picture.convert("RGB").crop(box))
    if len(cut) < number:
        raise ValueError(f"timing needs {number} pictures of people, there are {len(cut)}")
    return cut


def scene(people: Sequence[Image.Image]) -> UInt8Array:
    """The people side by side on grey, each as large as fits, RGB."""
    width, height = SIZE
    canvas = Image.new("RGB", SIZE, _GREY)
    column = width // len(people)
    for number, person in enumerate(people):
        scale = min(column / person.width, height / person.height)
        small = person.resize((max(1, round(person.width * scale)), max(1, round(person.height * scale))))
        left = number * column + (column - small.width) // 2
        canvas.paste(small, (left, height - small.height))
    return np.asarray(canvas)


def write_scene(folder: Path, image_HWC: UInt8Array, num_frames: int) -> Path:
    """The scene as a folder of equal frames, which `partstream bench` takes for a clip."""
    folder.mkdir(parents=True)
    for number in range(num_frames):
        Image.fromarray(image_HWC).save(folder / f"{number:04d}.jpg", quality=95)
    return folder


def _extent(inside: npt.NDArray[np.bool_]) -> slice:
    """From the first to past the last of what is true."""
    (places,) = np.nonzero(inside)
    return slice(int(places[0]), int(places[-1]) + 1)
