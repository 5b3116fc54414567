"""Unlabelled real clips, from which optical flow is learned by photometric error.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
SUFFIXES = frozenset({".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"})
_MAX_FRAMES = 200
_LONGER_SIDE = 720
_FEWEST = 2


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrames:
    """The first frames of a clip."""

    name: str
    images_THWC: UInt8Array


def read_unlabelled(folder: Path) -> tuple[VideoFrames, ...]:
    """All clips of a folder, in the order of their names, at most 720 pixels wide or high.

    Raises:
        ValueError: The folder has no clips, or one cannot be read or is a single picture.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} has no clips ({', '.join(sorted(SUFFIXES))})")
    return tuple(VideoFrames(path.name, _frames(path)) for path in paths)


def _frames(path: Path) -> UInt8Array:
    capture = cv2.VideoCapture(str(path))
    found: list[UInt8Array] = []
    while len(found) < _MAX_FRAMES:
        there, image = capture.read()
        if not there:
            break
        scale = min(1.0, _LONGER_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8))
    capture.release()
    if len(found) < _FEWEST:
        raise ValueError(f"{path} has {len(found)} frames that can be read; at least {_FEWEST} are needed")
    return np.stack(found)


def draw_crop(
    images_THWC: UInt8Array, size: tuple[int, int], rng: np.random.Generator, *, zoom: tuple[float, float]
) -> list[UInt8Array]:
    """The same random part of every frame at another size, mirrored now and then.

    Args:
        images_THWC: The frames.
        size: Height and width of what is drawn.
        rng: Decides where, how large and whether mirrored.
        zoom: How much larger than needed the frames become, from and to; at least 1.
    """
    height, width = images_THWC.shape[1:3]
    scale = rng.uniform(*zoom) * max(size[0] / height, size[1] / width)
    whole = (round(width * scale) + 1, round(height * scale) + 1)
    top, left = rng.integers(whole[1] - size[0] + 1), rng.integers(whole[0] - size[1] + 1)
    mirrored = rng.random() < 0.5
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    drawn = []
    for image in images_THWC:
        part = cv2.resize(image, whole, interpolation=how)[top : top + size[0], left : left + size[1]]
        drawn.append(np.ascontiguousarray(part[:, ::-1] if mirrored else part, np.uint8))
    return drawn
