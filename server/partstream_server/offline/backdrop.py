"""A picture that stands behind people in a rendered video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from partstream_core.errors import MediaError, OptionError
from partstream_server.media import MediaLimits, open_video
from partstream_server.offline.overlay import Image


def read_backdrop(path: Path, limits: MediaLimits | None = None) -> Image | None:
    """The picture of a path, RGB; of a video, its first frame. None where there is no file.

    Raises:
        OptionError: It cannot be read.
    """
    if not path.is_file():
        return None
    try:
        with open_video(path, limits) as reader:
            return next(iter(reader)).image
    except MediaError as error:
        raise OptionError(f"the backdrop cannot be read: {error}") from None


def filling(picture: Image, *, width: int, height: int) -> Image:
    """The middle of a picture at another size, so that it fills all of it."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)
