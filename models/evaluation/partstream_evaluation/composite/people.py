"""People cut out of photos, ready to be drawn at any place of a frame.

Everything that touches labels is integer arithmetic, so a clip's truth is the same on every machine.

Shape suffixes: H height, W width, C colour channels (RGB), 4 RGB and opacity; a last 2 is (x, y).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from partstream_core.labels import VOID, flip_labels
from partstream_evaluation.composite.motion import FloatArray

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_UNITS: Final = 32
"""Sampling places are rounded to this fraction of a pixel."""
_PAD: Final = 4
_SMALLEST_PIECE: Final = 0.05
"""Pieces of a person smaller than this, against the largest, are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A person without surroundings."""

    name: str
    rgba_HW4: UInt8Array
    """Opacity falls off softly at the outline; colours go on beyond it, so no backdrop shines through."""
    parts_HW: UInt8Array
    """Parts 1..19 on the person, 0 elsewhere."""

    @property
    def width(self) -> float:
        """In body coordinates, where the height is 1."""
        height, width = self.parts_HW.shape
        return float(width / height)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a cut-out shows over an area of a frame."""

    rgba_HW4: UInt8Array
    parts_HW: UInt8Array


def cut_out(name: str, image_HWC: UInt8Array, parts_HW: UInt8Array) -> Cutout:
    """The person of a photo.

    Raises:
        ValueError: Nobody is in the part map.
    """
    person_HW = _large_pieces((parts_HW > 0) & (parts_HW < VOID))
    if not person_HW.any():
        raise ValueError(f"photo {name} shows nobody")
    rows, columns = np.flatnonzero(person_HW.any(axis=1)), np.flatnonzero(person_HW.any(axis=0))
    area = (
        slice(rows[0], rows[-1] + 1),
        slice(max(columns[0] - _PAD, 0), columns[-1] + 1 + _PAD),
    )
    parts = np.where(person_HW, parts_HW, 0)[area].astype(np.uint8)
    return _softened(name, _colours_from_inside(image_HWC[area], parts > 0), parts)


def _large_pieces(person_HW: BoolArray) -> BoolArray:
    """The mask without its small pieces: a hand beyond a bag that is not part of the person."""
    pieces_HW, _ = ndimage.label(person_HW)
    areas = np.bincount(pieces_HW.ravel())
    areas[0] = 0
    large: BoolArray = (areas >= _SMALLEST_PIECE * areas.max(initial=0)) & (areas > 0)
    return np.asarray(large[pieces_HW])


def _colours_from_inside(image_HWC: UInt8Array, person_HW: BoolArray) -> UInt8Array:
    """The image with the person's own colours at and beyond the outline, where labels and photo disagree."""
    inside = ndimage.binary_erosion(person_HW, iterations=2, border_value=1)
    if not inside.any():
        inside = person_HW
    _, (rows, columns) = ndimage.distance_transform_edt(~inside, return_indices=True)
    colours: UInt8Array = image_HWC[rows, columns]
    return colours


def _softened(name: str, image_HWC: UInt8Array, parts_HW: UInt8Array) -> Cutout:
    mask = Image.fromarray(np.where(parts_HW > 0, 255, 0).astype(np.uint8))
    opacity = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.8)))
    return Cutout(name, np.dstack([image_HWC, opacity]).astype(np.uint8), parts_HW)


def upper_body(cutout: Cutout, share: float) -> Cutout:
    """The upper part of a person, that share of the height."""
    rows = max(round(cutout.parts_HW.shape[0] * share), 2)
    return replace(cutout, rgba_HW4=cutout.rgba_HW4[:rows], parts_HW=cutout.parts_HW[:rows])


def mirrored(cutout: Cutout) -> Cutout:
    """The person seen in a mirror: left and right change places."""
    turned = np.ascontiguousarray(cutout.rgba_HW4[:, ::-1])
    return replace(cutout, rgba_HW4=turned, parts_HW=np.ascontiguousarray(flip_labels(cutout.parts_HW)))


def shrunk(cutout: Cutout, height: int) -> Cutout:
    """The cut-out at most so many pixels high, so that drawing it small does not flicker."""
    old_height, old_width = cutout.parts_HW.shape
    height = max(height, 2)
    if height >= old_height:
        return cutout
    size = (max(round(old_width * height / old_height), 2), height)
    image = np.asarray(Image.fromarray(cutout.rgba_HW4[..., :3]).resize(size, Image.Resampling.HAMMING))
    parts = np.asarray(Image.fromarray(cutout.parts_HW).resize(size, Image.Resampling.NEAREST))
    return _softened(cutout.name, image, parts)


def draw_labels(cutout: Cutout, body_HW2: FloatArray) -> UInt8Array:
    """The parts at places in body coordinates, [H, W], 0 outside."""
    place = np.rint(body_HW2 * (cutout.parts_HW.shape[0] * _UNITS)).astype(np.int64) // _UNITS
    height, width = cutout.parts_HW.shape
    x, y = place[..., 0], place[..., 1]
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    found: UInt8Array = cutout.parts_HW[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] * inside
    return found


def draw(cutout: Cutout, body_HW2: FloatArray) -> Drawn:
    """What the cut-out shows at places in body coordinates; colours and opacity bilinear, parts nearest."""
    height, width = cutout.parts_HW.shape
    place = np.rint(body_HW2 * (height * _UNITS)).astype(np.int64) - _UNITS // 2
    x, y = place[..., 0], place[..., 1]
    shown = (x > -_UNITS) & (y > -_UNITS) & (x < width * _UNITS) & (y < height * _UNITS)
    x_N, y_N = x[shown], y[shown]
    left, top = x_N // _UNITS, y_N // _UNITS
    part_x, part_y = x_N % _UNITS, y_N % _UNITS
    padded = np.pad(cutout.rgba_HW4, ((1, 1), (1, 1), (0, 0)), mode="edge")
    padded[[0, -1], :, 3] = padded[:, [0, -1], 3] = 0
    flat, stride = padded.reshape(-1, 4), width + 2
    first = (top + 1) * stride + left + 1
    total = np.zeros((len(first), 4), np.int64)
    for offset, weight in (
        (0, (_UNITS - part_x) * (_UNITS - part_y)),
        (1, part_x * (_UNITS - part_y)),
        (stride, (_UNITS - part_x) * part_y),
        (stride + 1, part_x * part_y),
    ):
        total += flat[first + offset] * weight[:, None]
    rgba = np.zeros((*x.shape, 4), np.uint8)
    rgba[shown] = (total + _UNITS * _UNITS // 2) // (_UNITS * _UNITS)
    return Drawn(rgba, draw_labels(cutout, body_HW2))


def blend(below_HWC: UInt8Array, above_HW4: UInt8Array) -> UInt8Array:
    """`above` over `below`."""
    opacity = above_HW4[..., 3:].astype(np.int32)
    mixed = below_HWC * (255 - opacity) + above_HW4[..., :3] * opacity
    return ((mixed + 127) // 255).astype(np.uint8)
