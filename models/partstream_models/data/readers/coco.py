"""People of COCO 2017.

    annotations/person_keypoints_train2017.json   (or instances_train2017.json)
    train2017/000000391895.jpg                    (or images/train2017/)

Photos without people are left out. Crowds are void.

Source: Lin et al., ECCV 2014.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partstream_models.data.readers.files import first_file, first_folder, read_image, read_json
from partstream_models.data.readers.masks import decode_mask, stack_masks
from partstream_models.data.readers.record import Frame, Recording

PERSON = 1


def open_coco(folder: Path, split: str) -> tuple[Recording, ...]:
    """The photos with people of a split, `train` or `val`.

    Raises:
        ValueError: A file or folder is missing, or the annotations are damaged.
    """
    annotations = first_file(
        [folder / "annotations" / f"{kind}_{split}2017.json" for kind in ("person_keypoints", "instances")],
        "COCO keeps its annotations there",
    )
    images = first_folder(
        [folder / f"{split}2017", folder / "images" / f"{split}2017"], "COCO keeps its images there"
    )
    return open_annotated(annotations, images)


def open_annotated(annotations: Path, images: Path) -> tuple[Recording, ...]:
    """The photos with people of an annotation file in COCO's form.

    Raises:
        ValueError: The file is missing or damaged, or an annotation names an image that it does not list.
    """
    document = read_json(annotations)
    try:
        listed = {image["id"]: image for image in document["images"]}
        people: dict[Any, list[dict[str, Any]]] = {}
        for each in document["annotations"]:
            if each["category_id"] == PERSON:
                people.setdefault(each["image_id"], []).append(each)
        unknown = sorted(map(str, set(people) - set(listed)))
        if unknown:
            raise ValueError(f"{annotations}: there is no image {unknown[0]}")
        return tuple(
            Recording(
                Path(listed[number]["file_name"]).stem, 1, (0,),
                partial(_photo, images / listed[number]["file_name"], annotations, tuple(people[number])),
                len(people[number]),
            )
            for number in listed
            if number in people
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotations} is damaged: {error!r}") from error


def _photo(image: Path, annotations: Path, people: tuple[dict[str, Any], ...], _number: int) -> Frame:
    image_HWC = read_image(image)
    height, width = image_HWC.shape[:2]
    void_HW, masks = np.zeros((height, width), bool), []
    for each in people:
        try:
            mask_HW = decode_mask(each["segmentation"], height, width)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{annotations}: annotation {each.get('id')} of {image.name} is damaged: {error}"
            ) from error
        if each.get("iscrowd"):
            void_HW |= mask_HW
        elif mask_HW.any():
            masks.append(mask_HW)
    return Frame(image_HWC, None, stack_masks(masks, void_HW), np.arange(1, len(masks) + 1))
