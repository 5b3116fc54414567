"""Frames for live streams: figures that walk, as arrays and as JPEGs."""

from functools import lru_cache

import cv2
import numpy as np

from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.media.frame import Image

WIDTH, HEIGHT = 512, 288


@lru_cache(maxsize=64)
def _picture(number: int, shift: int) -> Image:
    return scene(WIDTH, HEIGHT, number + shift)


def walk(num_frames: int, *, shift: int = 0) -> list[Image]:
    """Frames of a clip; another shift is another clip."""
    return [_picture(number, shift) for number in range(num_frames)]


def jpeg(image: Image, quality: int = 90) -> bytes:
    """The image as a camera sends it."""
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(data).tobytes()
