"""From a frame as it was sent to upright RGB."""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from partstream_core.errors import EmptyUploadError, NotAVideoError, TruncatedError
from partstream_server.decode.frame import Image, MediaLimits
from partstream_server.decode.still import open_within_limits, to_rgb

_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_PADDING: Final = 64
"""Bytes after a JPEG's end that cameras leave there."""


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
            return _read_jpeg(image) if header.format == "JPEG" else to_rgb(header)
    except UnidentifiedImageError:
        raise NotAVideoError(f"these {len(image)} bytes are no JPEG, PNG or WebP") from None
    except (OSError, SyntaxError, ValueError, EOFError, PillowImage.DecompressionBombError) as error:
        if "truncated" in str(error):
            raise TruncatedError(f"the picture is cut short: {error}") from None
        raise NotAVideoError(f"the picture is damaged: {error}") from None


def _read_jpeg(data: bytes) -> Image:
    """OpenCV reads JPEGs in half of Pillow's time, and conceals a missing end; so that is looked for."""
    if _JPEG_END not in data[-_PADDING:]:
        raise TruncatedError("the JPEG is cut short: it has no end")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise NotAVideoError("the JPEG is damaged")
    return np.asarray(pixels, np.uint8)
