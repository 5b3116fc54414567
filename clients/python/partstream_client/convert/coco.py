"""Results as a COCO data set: a dictionary that `pycocotools.coco.COCO` and annotation tools read as JSON.

People with joints have COCO's keypoints, so it is a data set of person keypoints too.
"""

from collections.abc import Iterable
from typing import Any

from partstream_client.frames import Frame
from partstream_client.people import BoolArray, Part, Person
from partstream_core import rle
from partstream_core.boxes import Box, box_of_mask
from partstream_core.coco_keypoints import CATEGORY_FIELDS, keypoint_fields
from partstream_core.labels import PARTS

PERSON_CATEGORY = len(PARTS)
"""`category_id` of people; that of a part is its place in `partstream_core.labels.PARTS`, from 1."""


def to_coco(frames: Iterable[Frame], *, file_name: str = "{index:06d}.png") -> dict[str, Any]:
    """The frames as images, their people and parts as annotations.

    Beside COCO's own fields an annotation has `score`, and `track_id`, which is the person's identity; a
    person with joints also has `keypoint_scores`.

    Args:
        frames: Frames whose size is known, with masks.
        file_name: Name of a frame's image, made from its `index`.

    Raises:
        NoMaskError: The results came without masks.
        UnknownSizeError: A frame without people does not know its size.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, frame in enumerate(frames, start=1):
        height, width = frame.size
        name = file_name.format(index=frame.index)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for person in frame.people:
            shared = {"image_id": number, "track_id": person.identity, "iscrowd": 0}
            found: list[tuple[int, Person | Part]] = [(PERSON_CATEGORY, person)]
            found += [(PARTS.index(part.name), part) for part in person.parts.values()]
            for category, each in found:
                fields = {"id": len(annotations) + 1, **shared, "category_id": category, "score": each.score}
                keypoints = keypoint_fields(each.record.joints) if isinstance(each, Person) else {}
                annotations.append(fields | _shape(each.mask) | keypoints)
    jointed = any("keypoints" in each for each in annotations)
    return {"images": images, "annotations": annotations, "categories": _categories(jointed=jointed)}


def _categories(*, jointed: bool) -> list[dict[str, Any]]:
    parts = [
        {"id": number, "name": name, "supercategory": "part"} for number, name in enumerate(PARTS) if number
    ]
    person = {"id": PERSON_CATEGORY, "name": "person", "supercategory": "person"}
    return [*parts, {**person, **CATEGORY_FIELDS} if jointed else person]


def _shape(mask_HW: BoolArray) -> dict[str, Any]:
    """Segmentation, area and box (x, y, width, height) of a mask."""
    runs = rle.encode(mask_HW)
    return {
        "segmentation": {"size": [runs.height, runs.width], "counts": runs.counts},
        "area": int(mask_HW.sum()),
        "bbox": _xywh(box_of_mask(mask_HW)),
    }


def _xywh(box: Box | None) -> list[float]:
    if box is None:
        return [0.0, 0.0, 0.0, 0.0]
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
