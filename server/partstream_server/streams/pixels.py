"""From a frame as it was sent to upright RGB."""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from partstream_core.errors import EmptyUploadError, NotAVideoError, TruncatedError
from partstream_server.media.frame import Image, MediaLimits
from partstream_server.media.jpeg import end_of
from partstream_server.media.still import UNREADABLE, open_within_limits, to_rgb

_JPEGS: Final = ("JPEG", "MPO")
"""MPO: a JPEG with further ones behind it, which are not read."""
_FORMATS: Final = (*_JPEGS, "PNG", "WEBP")


def to_pixels(image: bytes | Image, limits: MediaLimits) -> Image:
    """Upright RGB of an encoded picture, or the array itself.

    Raises:
        FrameTooLargeError: A side is over the limits; no pixel was decoded.
        EmptyUploadError: There is no byte.
        NotAVideoError: The bytes are no JPEG, PNG or WebP, or a damaged one.
        TruncatedError: The end is missing.
    """
    if isinstance(image, np.ndarray):
        limits.check_size(image.shape[1], image.shape[0])
        return image
    if not image:
        raise EmptyUploadError("the frame holds no byte")
    try:
        with open_within_limits(io.BytesIO(image), limits) as header:
            if header.format not in _FORMATS:
                raise NotAVideoError(f"a frame is a JPEG, PNG or WebP, not {header.format}")
            return _read_jpeg(image) if header.format in _JPEGS else to_rgb(header)
    except UnidentifiedImageError:
        raise NotAVideoError(f"these {len(image)} bytes are no JPEG, PNG or WebP") from None
    except (*UNREADABLE, PillowImage.DecompressionBombError, cv2.error) as error:
        if "truncated" in str(error):
            raise TruncatedError(f"the picture is cut short: {error}") from None
        raise NotAVideoError(f"the picture is damaged: {error}") from None


def _read_jpeg(data: bytes) -> Image:
    """OpenCV reads JPEGs in half of Pillow's time, and conceals a missing end; so that is looked for."""
    if end_of(data) is None:
        raise TruncatedError("the JPEG is cut short: it has no end")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise NotAVideoError("the JPEG is damaged")
    return np.asarray(pixels, np.uint8)
