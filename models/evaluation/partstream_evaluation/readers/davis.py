"""DAVIS: a folder a clip of palette PNG, `CLIP/00000.png`, each value a person, 0 nobody, 255 void."""

from pathlib import Path

import numpy as np

from partstream_core.labels import PALETTE, VOID
from partstream_core.rle import decode, encode
from partstream_evaluation.readers.images import read_labels, write_labels
from partstream_evaluation.readers.model import (
    FrameKey,
    FrameObjects,
    ResultSet,
    frame_name,
    mask_of,
    people_of_maps,
)


def read(folder: Path) -> ResultSet:
    """The clips of a folder.

    Raises:
        ValueError: A map is damaged, or is no map.
    """
    frames = {}
    for path in sorted(folder.glob("*/*.png")):
        owners_HW = read_labels(path)
        void_HW = owners_HW == VOID
        people = people_of_maps(np.where(void_HW, 0, owners_HW))
        ignored = encode(void_HW) if void_HW.any() else None
        key = FrameKey(path.parent.name, frame_name(path.stem))
        frames[key] = FrameObjects(path, owners_HW.shape[:2], people, ignored)
    return ResultSet(frames, has_parts=False, has_identities=True)


def write(found: ResultSet, folder: Path) -> None:
    """Write a PNG a frame.

    Raises:
        ValueError: A frame has no size, or an identity above 254.
    """
    for key, frame in found.frames.items():
        if frame.size is None:
            raise ValueError(f"{frame.source}: {key} has no size, so it cannot be written as a picture")
        owners_HW = np.zeros(frame.size, np.int64)
        for each in frame.people:
            if each.identity >= VOID:
                raise ValueError(f"{frame.source}: DAVIS knows identities up to 254, got {each.identity}")
            owners_HW[decode(mask_of(each, frame.source))] = each.identity
        if frame.ignored is not None:
            owners_HW[decode(frame.ignored)] = VOID
        name = f"{int(key.frame):05d}" if key.frame.isdigit() else key.frame
        write_labels(folder / key.clip / f"{name}.png", owners_HW, PALETTE)
