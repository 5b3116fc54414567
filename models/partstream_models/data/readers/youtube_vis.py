"""People of YouTube-VIS, 2019 and 2021, and of HVIS.

    train.json                       (2019; 2021: train/instances.json)
    train/JPEGImages/0a49f5265b/00000.jpg

The annotation file lists videos with their frames, and people with a mask a frame, null where they do not
show. Videos without people are left out. HVIS, whose authors took the part of YouTube-VIS in which everybody
is labelled and added to it, is read in the same form; its own archive was not at hand.

Source: Yang et al., ICCV 2019 (YouTube-VIS); Yu et al. (HVIS).
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partstream_models.data.readers.files import first_file, need_folder, read_image, read_json
from partstream_models.data.readers.masks import decode_mask, stack_masks
from partstream_models.data.readers.record import Frame, Recording

_PERSON = "person"


def open_youtube_vis(folder: Path, split: str) -> tuple[Recording, ...]:
    """The videos with people of a split; only `train` has published labels.

    Raises:
        ValueError: A file or folder is missing, the annotations are damaged, or know no people.
    """
    annotations = first_file(
        [folder / split / "instances.json", folder / f"{split}.json"],
        "YouTube-VIS keeps its annotations there",
    )
    frames = need_folder(folder / split / "JPEGImages", "YouTube-VIS keeps frames there")
    document = read_json(annotations)
    try:
        categories = {each["id"] for each in document["categories"] if each["name"] == _PERSON}
        if not categories:
            raise ValueError(f"{annotations} has no category {_PERSON!r}")
        people: dict[Any, list[dict[str, Any]]] = {}
        # the files of splits without published labels have null here
        for each in document["annotations"] or ():
            if each["category_id"] in categories:
                people.setdefault(each["video_id"], []).append(each)
        if not people:
            raise ValueError(f"{annotations} has no labelled people")
        return tuple(
            _recording(annotations, frames, video, tuple(people[video["id"]]))
            for video in document["videos"]
            if video["id"] in people
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotations} is damaged: {error!r}") from error


def _recording(
    annotations: Path, folder: Path, video: dict[str, Any], people: tuple[dict[str, Any], ...]
) -> Recording:
    files = tuple(folder / name for name in video["file_names"])
    for each in people:
        if len(each["segmentations"]) != len(files):
            raise ValueError(
                f"{annotations}: person {each.get('id')} has {len(each['segmentations'])} masks, "
                f"the video {len(files)} frames"
            )
    load = partial(_frame, annotations, files, people)
    return Recording(Path(files[0]).parent.name, len(files), tuple(range(len(files))), load, len(people))


def _frame(
    annotations: Path, files: tuple[Path, ...], people: tuple[dict[str, Any], ...], number: int
) -> Frame:
    image_HWC = read_image(files[number])
    height, width = image_HWC.shape[:2]
    void_HW, masks, identities = np.zeros((height, width), bool), [], []
    for identity, each in enumerate(people, start=1):
        value = each["segmentations"][number]
        if value is None:
            continue
        try:
            mask_HW = decode_mask(value, height, width)
        except ValueError as error:
            raise ValueError(
                f"{annotations}: frame {number} of person {each.get('id')} is damaged: {error}"
            ) from error
        if each.get("iscrowd"):
            void_HW |= mask_HW
        elif mask_HW.any():
            masks.append(mask_HW)
            identities.append(identity)
    return Frame(image_HWC, None, stack_masks(masks, void_HW), np.array(identities, np.int64))
