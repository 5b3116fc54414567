"""OCHuman: photos of people who hide one another.

    images/000001.jpg
    ochuman_coco_format_val_range_0.00_1.00.json  (or in annotations/) `val`, `test` likewise, in COCO's form
    ochuman.json                                  `all`: everybody, in a form of its own

In `ochuman.json` an image lists its annotations, each with `segms`: rings around a person (`outer`) and
around holes (`inner`), or null for somebody whom nobody outlined, whose box is void.

Source: Zhang et al., CVPR 2019.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partstream_models.data.readers.coco import open_annotated
from partstream_models.data.readers.files import first_file, need_folder, read_image, read_json
from partstream_models.data.readers.masks import BoolArray, decode_polygons, stack_masks
from partstream_models.data.readers.record import Frame, Recording


def open_ochuman(folder: Path, split: str) -> tuple[Recording, ...]:
    """The photos of a split, `val`, `test` or `all`; the data set is made for judging and has no `train`.

    Raises:
        ValueError: A file or folder is missing, the annotations are damaged, or there is no such split.
    """
    images = need_folder(folder / "images", "OCHuman keeps its images there")
    if split == "all":
        return _open_own(first_file([folder / "ochuman.json", folder / "annotations" / "ochuman.json"],
                                    "OCHuman's own annotations"), images)  # fmt: skip
    if split not in ("val", "test"):
        raise ValueError(f"OCHuman has val, test and all, not {split!r}")
    name = f"ochuman_coco_format_{split}_range_0.00_1.00.json"
    return open_annotated(
        first_file([folder / name, folder / "annotations" / name], "OCHuman's annotations in COCO's form"),
        images,
    )


def _open_own(annotations: Path, images: Path) -> tuple[Recording, ...]:
    document = read_json(annotations)
    try:
        return tuple(
            Recording(
                Path(image["file_name"]).stem, 1, (0,),
                partial(_photo, images / image["file_name"], annotations, tuple(image["annotations"])),
                len(image["annotations"]),
            )
            for image in document["images"]
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotations} is damaged: {error!r}") from error


def _photo(image: Path, annotations: Path, people: tuple[dict[str, Any], ...], _number: int) -> Frame:
    image_HWC = read_image(image)
    height, width = image_HWC.shape[:2]
    void_HW, masks = np.zeros((height, width), bool), []
    for each in people:
        try:
            if each.get("segms") is None:
                left, top, right, bottom = (max(round(value), 0) for value in each["bbox"])
                void_HW[top:bottom, left:right] = True
            else:
                masks.append(_mask(each["segms"], height, width))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{annotations}: a person of {image.name} is damaged: {error}") from error
    masks = [mask for mask in masks if mask.any()]
    return Frame(image_HWC, None, stack_masks(masks, void_HW), np.arange(1, len(masks) + 1))


def _mask(rings: dict[str, Any], height: int, width: int) -> BoolArray:
    inside_HW = decode_polygons(rings["outer"], height, width)
    if rings.get("inner"):
        inside_HW &= ~decode_polygons(rings["inner"], height, width)
    return inside_HW
