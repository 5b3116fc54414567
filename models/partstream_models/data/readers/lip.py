"""LIP: photos of one person each, with a part map.

    TrainVal_images/train_images/100034_483681.jpg
    TrainVal_parsing_annotations/train_segmentations/100034_483681.png
    TrainVal_images/train_id.txt                  (also beside TrainVal_images)

Archives differ in whether a folder is repeated (`TrainVal_images/TrainVal_images/train_images`); both are
read. LIP's part 10 is jumpsuits, where VIP and CIHP have torso-skin: it has no place among our parts, and is
void.

Source: Gong et al., CVPR 2017.
"""

from functools import partial
from pathlib import Path

import numpy as np

from partstream_core.labels import PARTS, VOID
from partstream_models.data.readers.files import (
    PART_VALUES,
    first_file,
    first_folder,
    read_image,
    read_lines,
    read_map,
)
from partstream_models.data.readers.record import Frame, Recording, nobody

_JUMPSUITS = PARTS.index("torso-skin")


def open_lip(folder: Path, split: str) -> tuple[Recording, ...]:
    """The photos of a split, `train` or `val`.

    Raises:
        ValueError: A folder or the list is missing.
    """
    images, labels = folder / "TrainVal_images", folder / "TrainVal_parsing_annotations"
    listed = first_file(
        [images / f"{split}_id.txt", folder / f"{split}_id.txt"], f"LIP lists its split {split} there"
    )
    photos = first_folder(
        [top / f"{split}_images" for top in (images, images / images.name)], "LIP keeps images there"
    )
    maps = first_folder(
        [top / f"{split}_segmentations" for top in (labels, labels / labels.name)],
        "LIP keeps part maps there",
    )
    return tuple(
        Recording(name, 1, (0,), partial(_photo, photos / f"{name}.jpg", maps / f"{name}.png"), 1)
        for name in read_lines(listed)
    )


def _photo(image: Path, labels: Path, _number: int) -> Frame:
    image_HWC = read_image(image)
    theirs_HW = read_map(labels, image_HWC, PART_VALUES)
    person_HW = np.where(theirs_HW == VOID, VOID, theirs_HW > 0).astype(np.uint8)
    parts_HW = np.where(theirs_HW == _JUMPSUITS, VOID, theirs_HW).astype(np.uint8)
    identities = np.ones(1, np.int64) if (person_HW == 1).any() else nobody()
    return Frame(image_HWC, parts_HW, person_HW, identities)
