"""Results as a COCO data set: a dictionary that `pycocotools.coco.COCO` and annotation tools read as JSON.

People with joints have COCO's keypoints, so it is a data set of person keypoints too.
"""

from collections.abc import Iterable
from typing import Any

from partstream_client.frames import Frame
from partstream_core.convert.coco import PERSON_CATEGORY, annotations_of, categories

__all__ = ["PERSON_CATEGORY", "to_coco"]


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
        for annotation in annotations_of(frame.record):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    jointed = any("keypoints" in each for each in annotations)
    return {"images": images, "annotations": annotations, "categories": categories(jointed=jointed)}
