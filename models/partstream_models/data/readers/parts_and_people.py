"""CIHP and VIP: a part map and a map of people beside each image.

CIHP, one folder a split (`Training`, `Validation`), with the list of its images in it:

    Training/train_id.txt
    Training/Images/0000006.jpg
    Training/Category_ids/0000006.png        parts 0..19
    Training/Human_ids/0000006.png           people from 1

VIP, all splits together; of every 25 frames one is labelled, and stands in `Images`. Frames around it, from
VIP_Sequence, may stand in a folder of its name under `adjacent_frames`:

    lists/train_id.txt                       lines such as videos1/000000000026
    Images/videos1/000000000026.jpg
    Annotations/Category_ids/videos1/000000000026.png     (also without Annotations/)
    Annotations/Human_ids/videos1/000000000026.png
    adjacent_frames/videos1/000000000026/000000000025.jpg

VIP numbers people anew in each labelled frame, so a recording is one labelled frame and those around it.

Source: Gong et al., ECCV 2018 (CIHP); ATEN (Zhou et al., MM 2018) and the layout that its code reads (VIP).
"""

from functools import partial
from pathlib import Path

import numpy as np

from partstream_core.labels import VOID
from partstream_models.data.readers.files import (
    PART_VALUES,
    first_folder,
    images_in,
    need_folder,
    read_image,
    read_lines,
    read_map,
)
from partstream_models.data.readers.record import Frame, Recording, rows_of

_CIHP_FOLDERS = {"train": "Training", "val": "Validation"}


def open_cihp(folder: Path, split: str) -> tuple[Recording, ...]:
    """The photos of a split, `train` or `val`.

    Raises:
        ValueError: A folder or the list is missing, or there is no such split.
    """
    if split not in _CIHP_FOLDERS:
        raise ValueError(f"CIHP has labels for {' and '.join(_CIHP_FOLDERS)}, not for {split!r}")
    inside = need_folder(folder / _CIHP_FOLDERS[split], f"CIHP keeps its split {split} there")
    images, parts, people = (
        need_folder(inside / name, "CIHP has it") for name in ("Images", "Category_ids", "Human_ids")
    )
    return tuple(
        Recording(
            name, 1, (0,),
            partial(_labelled, images / f"{name}.jpg", parts / f"{name}.png", people / f"{name}.png"),
        )
        for name in read_lines(inside / f"{split}_id.txt")
    )  # fmt: skip


def open_vip(folder: Path, split: str) -> tuple[Recording, ...]:
    """The labelled frames of a split, each with the frames around it.

    Raises:
        ValueError: A folder or the list is missing.
    """
    images = need_folder(folder / "Images", "VIP keeps its labelled frames there")
    parts, people = (
        first_folder([folder / "Annotations" / name, folder / name], "VIP has it")
        for name in ("Category_ids", "Human_ids")
    )
    found = []
    for name in read_lines(folder / "lists" / f"{split}_id.txt"):
        around = _around(images / f"{name}.jpg", folder / "adjacent_frames" / name)
        middle = around.index(images / f"{name}.jpg")
        load = partial(_of_clip, around, middle, parts / f"{name}.png", people / f"{name}.png")
        found.append(Recording(name, len(around), (middle,), load))
    return tuple(found)


def _around(image: Path, folder: Path) -> tuple[Path, ...]:
    """The frames of a clip: the unlabelled ones, which may be numbered up to the labelled one's place."""
    if not folder.is_dir():
        return (image,)
    others = [path for path in images_in(folder) if path.stem != image.stem]
    return tuple(sorted([*others, image], key=lambda path: path.stem))


def _of_clip(frames: tuple[Path, ...], middle: int, parts: Path, people: Path, number: int) -> Frame:
    if number == middle:
        return _labelled(frames[number], parts, people, 0)
    return Frame(read_image(frames[number]))


def _labelled(image: Path, parts: Path, people: Path, _number: int) -> Frame:
    image_HWC = read_image(image)
    parts_HW = read_map(parts, image_HWC, PART_VALUES)
    owners_HW = read_map(people, image_HWC)
    # a part of nobody cannot be learned from, whoever it belongs to
    unsure_HW = (parts_HW == VOID) | ((parts_HW > 0) & (owners_HW == 0))
    instances_HW, identities = rows_of(np.where(unsure_HW, VOID, owners_HW))
    parts_HW = np.where(unsure_HW, VOID, parts_HW)
    return Frame(image_HWC, parts_HW.astype(np.uint8), instances_HW, identities)
