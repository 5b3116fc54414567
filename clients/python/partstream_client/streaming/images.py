"""Frames as bytes for the wire.

Pillow makes the JPEGs, so that nothing needs OpenCV; whoever has a faster encoder gives its bytes instead.
"""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from PIL import Image as Pictures

from partstream_client.draw import Image, checked_image

Picture: TypeAlias = Image | bytes
"""RGB, uint8 [H, W, 3]; or a ready JPEG, PNG or WebP."""


class Encoding(StrEnum):
    """How an array travels."""

    JPEG = "jpeg"
    """Small; loses a little. The choice for networks."""
    RAW = "raw"
    """As it is: large, and nothing is lost or computed. The choice on one machine."""
    PNG = "png"
    """Nothing is lost, but it is slow to make."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A frame as it travels."""

    data: bytes
    raw_size: tuple[int, int] | None
    """Height and width of raw RGB; None for encoded pictures, which say it themselves."""


def checked_picture(picture: object) -> Picture:
    """The picture, if it is one.

    Raises:
        ValueError: It is neither an RGB array nor bytes, or empty.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        if not picture:
            raise ValueError("an encoded frame holds no byte")
        return bytes(picture)
    return checked_image(picture)


def encoded(picture: Picture, encoding: Encoding, quality: int) -> Payload:
    """The picture as it travels; bytes go as they are."""
    if isinstance(picture, bytes):
        return Payload(picture, None)
    if encoding is Encoding.RAW:
        return Payload(picture.tobytes(), picture.shape[:2])
    file = io.BytesIO()
    if encoding is Encoding.JPEG:
        Pictures.fromarray(picture).save(file, "JPEG", quality=quality)
    else:
        Pictures.fromarray(picture).save(file, "PNG", compress_level=1)
    return Payload(file.getvalue(), None)
