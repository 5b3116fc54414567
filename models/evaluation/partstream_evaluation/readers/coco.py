"""COCO: people as RLE or polygons, with keypoints or without, in a data set or in a list of results for one.

`file_name` tells clip and frame: `CLIP/000012.jpg` is frame 12 of CLIP, `0815.jpg` a photo. A `track_id` is
the identity; without one, people of a frame are numbered. Crowds are regions to ignore.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco

from partstream_core.coco_keypoints import CATEGORY_FIELDS, joints_of, keypoint_fields
from partstream_core.results import PersonResult
from partstream_core.rle import Rle, area, decode, encode, run_lengths
from partstream_evaluation.readers.model import (
    ONLY_FRAME,
    FrameKey,
    FrameObjects,
    ResultSet,
    frame_name,
    mask_of,
    person,
)

PERSON: Final = 1
"""COCO's number of people, where the data set has no category of that name."""
_MAX_SIDE: Final = 1 << 15


def read_dataset(path: Path) -> ResultSet:
    """The people of a data set.

    Raises:
        ValueError: It is not a COCO data set; the message names the file and the annotation.
    """
    document = _load(path)
    if not isinstance(document, dict) or "images" not in document or "annotations" not in document:
        raise ValueError(f"{path} is not a COCO data set: it lacks images or annotations")
    names = {each.get("id"): each.get("name") for each in document.get("categories", [])}
    kinds = {number for number, name in names.items() if name == "person"} or {PERSON}
    return _collect(path, _images(path, document["images"]), document["annotations"], kinds)


def read_results(path: Path, dataset: Path) -> ResultSet:
    """A list of results for the images of a data set.

    Raises:
        ValueError: It is no such list, or names an image that the data set lacks.
    """
    document = _load(path)
    if not isinstance(document, list):
        raise ValueError(f"{path} is not a list of COCO results")
    truth = _load(dataset)
    return _collect(path, _images(dataset, truth.get("images", [])), document, {PERSON})


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def _images(path: Path, listed: Any) -> dict[Any, tuple[FrameKey, tuple[int, int]]]:
    images = {}
    for each in listed:
        try:
            size = (int(each["height"]), int(each["width"]))
            name = PurePosixPath(each["file_name"])
            if not all(0 < side <= _MAX_SIDE for side in size):
                raise ValueError(f"its size is {size}")
            images[each["id"]] = (_key(name), size)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: image {_short(each)} is damaged: {error!r}") from error
    return images


def _key(name: PurePosixPath) -> FrameKey:
    if len(name.parts) == 1:
        return FrameKey(name.stem, ONLY_FRAME)
    return FrameKey("/".join(name.parts[:-1]), frame_name(name.stem))


def _collect(
    path: Path, images: dict[Any, tuple[FrameKey, tuple[int, int]]], listed: list[Any], kinds: set[Any]
) -> ResultSet:
    people: dict[Any, list[PersonResult]] = {number: [] for number in images}
    crowds: dict[Any, list[Rle]] = {number: [] for number in images}
    tracked = False
    for each in listed:
        try:
            if each["category_id"] not in kinds:
                continue
            if each["image_id"] not in images:
                raise ValueError(f"there is no image {each['image_id']}")
            at, (_, size) = each["image_id"], images[each["image_id"]]
            mask = _mask(each["segmentation"], size)
            if each.get("iscrowd"):
                crowds[at].append(mask)
                continue
            tracked = tracked or "track_id" in each
            identity = int(each.get("track_id", len(people[at]) + 1))
            score, joints = float(each.get("score", 1.0)), joints_of(each)
            people[at].append(person(identity, score, mask, joints=joints))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: annotation {_short(each)} is damaged: {error}") from error
    frames = {
        key: FrameObjects(path, size, tuple(people[number]), _union(crowds[number]))
        for number, (key, size) in images.items()
    }
    return ResultSet(frames, has_parts=False, has_identities=tracked)


def _mask(value: Any, size: tuple[int, int]) -> Rle:
    """RLE, compressed or not, or polygons."""
    height, width = size
    if isinstance(value, list):
        if not value or any(len(ring) < 6 or len(ring) % 2 for ring in value):
            raise ValueError("a polygon must have three points or more, as x and y in turn")
        if not np.isfinite(np.concatenate([np.asarray(ring, np.float64) for ring in value])).all():
            raise ValueError("a polygon holds NaN or infinity")
        merged = coco.merge(coco.frPyObjects(value, height, width))
        return Rle(height, width, merged["counts"].decode("ascii"))
    if tuple(value["size"]) != size:
        raise ValueError(f"its mask is {tuple(value['size'])}, its image {size}")
    if isinstance(value["counts"], list):
        if sum(value["counts"]) != height * width or min(value["counts"], default=-1) < 0:
            raise ValueError(f"its runs do not sum to {height}x{width} pixels")
        value = coco.frPyObjects(value, height, width)
        return Rle(height, width, value["counts"].decode("ascii"))
    mask = Rle(height, width, value["counts"])
    run_lengths(mask)
    return mask


def _union(masks: list[Rle]) -> Rle | None:
    if not masks:
        return None
    return encode(np.logical_or.reduce([decode(mask) for mask in masks]))


def _short(value: Any, length: int = 60) -> str:
    name = value.get("id", value.get("image_id")) if isinstance(value, dict) else value
    return repr(name)[:length]


def write_dataset(found: ResultSet, path: Path) -> None:
    """Write a data set of people with identities as `track_id`, scores, and keypoints where there are joints.

    Raises:
        ValueError: A frame has no size.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def add(mask: Rle, **fields: Any) -> None:
        box = coco.toBbox({"size": [mask.height, mask.width], "counts": mask.counts})
        segmentation = {"size": [mask.height, mask.width], "counts": mask.counts}
        fields |= {"id": len(annotations) + 1, "image_id": len(images), "category_id": PERSON}
        fields |= {"segmentation": segmentation, "area": area(mask), "bbox": box.tolist()}
        annotations.append(fields)

    for key, frame in found.frames.items():
        if frame.size is None:
            raise ValueError(f"{frame.source}: {key} has no size, and COCO wants one")
        photo = key.frame == ONLY_FRAME and not found.has_identities
        name = f"{key.clip}.jpg" if photo else f"{key.clip}/{key.frame}.jpg"
        height, width = frame.size
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        for each in frame.people:
            track = {"track_id": each.identity} if found.has_identities else {}
            fields = track | keypoint_fields(each.joints)
            add(mask_of(each, frame.source), iscrowd=0, score=each.score, **fields)
        if frame.ignored is not None:
            add(frame.ignored, iscrowd=1)
    jointed = any(each.joints for frame in found.frames.values() for each in frame.people)
    category = {"id": PERSON, "name": "person", **(CATEGORY_FIELDS if jointed else {})}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
