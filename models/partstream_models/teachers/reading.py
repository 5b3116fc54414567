"""Pictures of folders and frames of clips, shrunk, for teachers to label.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_models.data.scenes.pictures import CLIPS, PICTURES

UInt8Array = npt.NDArray[np.uint8]

LONGER_SIDE = 576
"""Larger pictures are shrunk to this."""
_FRAMES_OF_CLIP = 24
_STILL = 2.0
"""Mean difference of pixel values below which a frame shows nothing new."""


@dataclass(frozen=True, slots=True)
class NamedPicture:
    """A picture and where it comes from."""

    name: str
    image_HWC: UInt8Array
    """RGB."""


def read_pictures(folders: Iterable[Path], *, leave_out: Iterable[Path] = ()) -> Iterator[NamedPicture]:
    """Pictures of folders, and frames of their clips that show something new, shrunk.

    Files that cannot be read are left out, and so is what lies in the folders `leave_out`.
    """
    unwanted = {folder.resolve() for folder in leave_out}
    for folder in folders:
        for path in sorted(each for each in folder.rglob("*") if each.suffix.lower() in PICTURES | CLIPS):
            if unwanted & set(path.resolve().parents):
                continue
            name = str(path.relative_to(folder.parent))
            if path.suffix.lower() in CLIPS:
                for number, frame in _frames(path):
                    yield NamedPicture(f"{name}#{number}", frame)
                continue
            image = read_picture(path)
            if image is not None:
                yield NamedPicture(name, image)


def read_picture(path: Path) -> UInt8Array | None:
    """A picture, shrunk; None where it cannot be read."""
    try:
        with Image.open(path) as picture:
            return shrink(np.array(picture.convert("RGB"), np.uint8))
    except (OSError, ValueError):
        return None


def shrink(image_HWC: UInt8Array) -> UInt8Array:
    """The picture with its longer side at most `LONGER_SIDE`."""
    scale = min(1.0, LONGER_SIDE / max(image_HWC.shape[:2]))
    if scale == 1.0:
        return np.ascontiguousarray(image_HWC)
    small = cv2.resize(image_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, np.uint8)


def shrink_labels(labels_HW: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """A label map at the height and width of a shrunk picture."""
    shrunk = cv2.resize(labels_HW, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.ascontiguousarray(shrunk, np.uint8)


def _frames(path: Path) -> Iterator[tuple[int, UInt8Array]]:
    capture = cv2.VideoCapture(str(path))
    step = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // _FRAMES_OF_CLIP, 10)
    number, last = 0, None
    while capture.grab():
        if number % step == 0:
            there, image = capture.retrieve()
            if there:
                frame = shrink(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
                if last is None or float(cv2.absdiff(frame, last).mean()) > _STILL:
                    last = frame
                    yield number, frame
        number += 1
    capture.release()
