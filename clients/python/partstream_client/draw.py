"""Pictures of results: parts in colour, people outlined in the colour of their identity, with its number.

Shape suffixes: H height, W width of the frame.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw

from partstream_client.people import BoolArray, Person
from partstream_core.joints import SKELETON, SURE
from partstream_core.labels import PALETTE, PARTS

Image = npt.NDArray[np.uint8]

_GOLDEN_ANGLE = 137.508
"""Degrees of hue between two identities that follow each other: neighbours in number look unlike."""
_SHADE = (24, 24, 24)


def checked_image(image_HW3: object) -> Image:
    """The image, if it is one.

    Raises:
        ValueError: It is no array of uint8 [H, W, 3] with a pixel in it.
    """
    if not isinstance(image_HW3, np.ndarray):
        raise ValueError(f"an image is a numpy array, got {type(image_HW3).__name__}")
    if image_HW3.dtype != np.uint8 or image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or not image_HW3.size:
        shape = list(image_HW3.shape)
        raise ValueError(f"an image is RGB, uint8 [height, width, 3], got {image_HW3.dtype} {shape}")
    return image_HW3


def draw(image_HW3: Image, people: Sequence[Person], *, opacity: float, skeletons: bool = False) -> Image:
    """A copy of an RGB frame with its people drawn on it; people without masks get their boxes."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}")
    canvas_HW3 = checked_image(image_HW3).copy()
    unit = max(1, round(max(canvas_HW3.shape[:2]) / 640))
    for person in people:
        if person.has_mask:
            _paint(canvas_HW3, person, opacity, unit)
    picture = Pictures.fromarray(canvas_HW3)
    pen = ImageDraw.Draw(picture)
    for person in people:
        if not person.has_mask:
            pen.rectangle(person.box, outline=identity_colour(person.identity), width=unit)
        if skeletons:
            _skeleton(pen, person, unit)
        _label(pen, person, picture.size, unit)
    return np.array(picture)


def identity_colour(identity: int) -> tuple[int, int, int]:
    """RGB of an identity: the same one each time, and unlike that of identities with near numbers."""
    red, green, blue = colorsys.hsv_to_rgb(identity * _GOLDEN_ANGLE / 360 % 1, 0.8, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _paint(canvas_HW3: Image, person: Person, opacity: float, width: int) -> None:
    mask_HW = person.mask
    if mask_HW.shape != canvas_HW3.shape[:2]:
        raise ValueError(
            f"the results are of a frame of {list(mask_HW.shape)}, the image is {list(canvas_HW3.shape[:2])}"
        )
    for part in person.parts.values():
        colour: npt.NDArray[Any] = PALETTE[PARTS.index(part.name)] * opacity
        pixels = canvas_HW3[part.mask] * (1 - opacity) + colour
        canvas_HW3[part.mask] = pixels.round().astype(np.uint8)
    canvas_HW3[_rim(mask_HW, width)] = identity_colour(person.identity)


def _rim(mask_HW: BoolArray, width: int) -> BoolArray:
    """The pixels of a mask that are at most `width` from its edge, in steps along rows and columns."""
    inner_HW = mask_HW
    for _ in range(width):
        padded = np.pad(inner_HW, 1)
        inner_HW = inner_HW & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask_HW & ~inner_HW


def _skeleton(pen: ImageDraw.ImageDraw, person: Person, unit: int) -> None:
    """Draw bones in the colour of the identity over dark ones, which are wider, and joints as white dots."""
    joints = person.record.joints
    visible = {at: (joint.x, joint.y) for at, joint in enumerate(joints) if joint.score >= SURE}
    for colour, width in ((_SHADE, 4 * unit), (identity_colour(person.identity), 2 * unit)):
        for first, second in SKELETON:
            if first in visible and second in visible:
                pen.line([visible[first], visible[second]], fill=colour, width=width)
    for place in visible.values():
        x, y = place
        box = (x - 2 * unit, y - 2 * unit, x + 2 * unit, y + 2 * unit)
        pen.ellipse(box, fill=(255, 255, 255), outline=_SHADE)


def _label(pen: ImageDraw.ImageDraw, person: Person, size: tuple[int, int], unit: int) -> None:
    """Write the identity in a box of its colour on top of the person, inside the frame."""
    text, font_size = str(person.identity), 12 * unit
    left, top, right, bottom = pen.textbbox((0, 0), text, font_size=font_size)
    width, height = right - left + 4 * unit, bottom - top + 4 * unit
    x = min(max(0.0, person.box[0]), max(0.0, size[0] - width))
    y = max(0.0, person.box[1] - height)
    pen.rectangle((x, y, x + width, y + height), fill=identity_colour(person.identity))
    pen.text((x + 2 * unit - left, y + 2 * unit - top), text, fill=(0, 0, 0), font_size=font_size)
