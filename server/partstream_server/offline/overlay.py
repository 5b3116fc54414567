"""Pictures of results: parts in colour, people outlined in the colour of their identity, with its number."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.joints import SKELETON, SURE
from partstream_core.labels import PALETTE
from partstream_core.results import PersonResult
from partstream_server.pipeline.values import LabelMaps

Image = npt.NDArray[np.uint8]

_OPACITY = 0.55
_GOLDEN_ANGLE = 137.508
"""Degrees of hue between two identities that follow each other: neighbours in number look unlike."""
_SHADE = (24, 24, 24)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


LAYERS = ("parts", "outlines", "boxes", "labels", "joints")
"""What can be drawn, from below to above."""
USUAL_LAYERS = frozenset({"parts", "outlines", "labels"})


def draw(
    image: Image,
    people: Sequence[PersonResult],
    maps: LabelMaps,
    *,
    layers: frozenset[str] = USUAL_LAYERS,
    pixel_aspect: float = 1.0,
) -> Image:
    """A copy of an RGB frame with its people drawn on it.

    Args:
        image: The frame.
        people: Its people.
        maps: The n-th of them is n in it.
        layers: Some of `LAYERS`; of joints those that are visible, and lines between them.
        pixel_aspect: Width of a pixel against its height; labels have their usual shape where it is shown.
    """
    canvas = image.copy()
    if "parts" in layers:
        _paint_parts(canvas, image, maps)
    unit = max(1.0, max(image.shape[:2]) / 640)
    for number, person in enumerate(people if "outlines" in layers else (), start=1):
        _outline(canvas, person, number, maps, thickness=max(1, round(unit)))
    for person in people if "boxes" in layers else ():
        _box(canvas, person, thickness=max(1, round(unit)))
    for person in people if "joints" in layers else ():
        _skeleton(canvas, person, unit)
    for person in people if "labels" in layers else ():
        _label(canvas, person, unit, pixel_aspect)
    return canvas


def _paint_parts(canvas: Image, image: Image, maps: LabelMaps) -> None:
    part_HW = np.ascontiguousarray(maps.part_HW)
    colours = cv2.applyColorMap(part_HW, PALETTE[:, None, :])
    blended = cv2.addWeighted(image, 1 - _OPACITY, colours, _OPACITY, 0)
    cv2.copyTo(blended, part_HW, canvas)


def _box(canvas: Image, person: PersonResult, *, thickness: int) -> None:
    left, top, right, bottom = (round(edge) for edge in person.box)
    colour = identity_colour(person.identity)
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, thickness, cv2.LINE_AA)


def identity_colour(identity: int) -> tuple[int, int, int]:
    """RGB of an identity: the same one each time, and unlike that of identities with near numbers."""
    hue = int(identity * _GOLDEN_ANGLE % 360 / 2)
    red, green, blue = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _outline(canvas: Image, person: PersonResult, number: int, maps: LabelMaps, *, thickness: int) -> None:
    left, top, right, bottom = (int(edge) for edge in person.box)
    mask_hw = np.ascontiguousarray(maps.person_HW[top:bottom, left:right] == number).view(np.uint8)
    contours, _ = cv2.findContours(mask_hw, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    cv2.drawContours(canvas, contours, -1, identity_colour(person.identity), thickness, cv2.LINE_AA)


def _skeleton(canvas: Image, person: PersonResult, unit: float) -> None:
    """Draw bones in the colour of the identity over dark ones, which are wider, and joints as white dots."""
    visible = {
        number: (round(joint.x), round(joint.y))
        for number, joint in enumerate(person.joints)
        if joint.score >= SURE
    }
    colour, thickness = identity_colour(person.identity), max(1, round(1.5 * unit))
    for shade, width in ((_SHADE, thickness + 2 * max(1, round(0.5 * unit))), (colour, thickness)):
        for first, second in SKELETON:
            if first in visible and second in visible:
                cv2.line(canvas, visible[first], visible[second], shade, width, cv2.LINE_AA)
    for place in visible.values():
        cv2.circle(canvas, place, max(1, round(2 * unit)), _SHADE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, place, max(1, round(1.4 * unit)), (255, 255, 255), cv2.FILLED, cv2.LINE_AA)


def _label(canvas: Image, person: PersonResult, unit: float, pixel_aspect: float) -> None:
    """Write the identity in a box of its colour on top of the person, inside the frame."""
    colour = identity_colour(person.identity)
    text, scale, thickness = f"{person.identity}", 0.5 * unit, max(1, round(unit))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(1, round(2 * unit))
    label = np.empty((height + baseline + pad + 1, width + 2 * pad + 1, 3), np.uint8)
    label[:] = colour
    cv2.putText(label, text, (pad, height + pad), _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
    if pixel_aspect != 1:
        label = _for_pixels(label, pixel_aspect)
    x = min(max(0, round(person.box[0])), max(0, canvas.shape[1] - label.shape[1] + 1))
    y = max(0, round(person.box[1]) - label.shape[0] + 1)
    room = canvas[y : y + label.shape[0], x : x + label.shape[1]]
    room[:] = label[: room.shape[0], : room.shape[1]]


def _for_pixels(image: Image, aspect: float) -> Image:
    """Stretch an image along the shorter side of the pixels, so that it keeps its shape where it is shown."""
    height, width = image.shape[:2]
    size = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
