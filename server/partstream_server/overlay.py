"""Pictures of results: parts in colour, people outlined in the colour of their identity, with its number."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import PALETTE
from partstream_core.results import PersonResult
from partstream_server.values import LabelMaps

Image = npt.NDArray[np.uint8]

_OPACITY = 0.55
_GOLDEN_ANGLE = 137.508
"""Degrees of hue between two identities that follow each other: neighbours in number look unlike."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(image: Image, people: Sequence[PersonResult], maps: LabelMaps) -> Image:
    """A copy of an RGB frame with its people drawn on it."""
    part_HW = np.ascontiguousarray(maps.part_HW)
    colours = cv2.applyColorMap(part_HW, PALETTE[:, None, :])
    blended = cv2.addWeighted(image, 1 - _OPACITY, colours, _OPACITY, 0)
    canvas = image.copy()
    cv2.copyTo(blended, part_HW, canvas)
    unit = max(1.0, max(image.shape[:2]) / 640)
    for number, person in enumerate(people, start=1):
        _outline(canvas, person, number, maps, thickness=max(1, round(unit)))
    for person in people:
        _label(canvas, person, unit)
    return canvas


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


def _label(canvas: Image, person: PersonResult, unit: float) -> None:
    """Write the identity in a box of its colour on top of the person, inside the frame."""
    colour = identity_colour(person.identity)
    text, scale, thickness = f"{person.identity}", 0.5 * unit, max(1, round(unit))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(1, round(2 * unit))
    x = min(max(0, round(person.box[0])), max(0, canvas.shape[1] - width - 2 * pad))
    y = max(0, round(person.box[1]) - height - baseline - pad)
    cv2.rectangle(canvas, (x, y), (x + width + 2 * pad, y + height + baseline + pad), colour, cv2.FILLED)
    origin = (x + pad, y + height + pad)
    cv2.putText(canvas, text, origin, _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
