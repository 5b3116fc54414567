"""People seen from behind, made from people seen from the front.

The photos show faces nearly always, so a network that learns from them draws a face on the back of every head
and takes the left arm for the right one. Painting the face over with the person's own hair, and exchanging
left and right, makes the other view well enough: clothes look much the same from behind.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import FLIP_PAIRS, PARTS

UInt8Array = npt.NDArray[np.uint8]

BEHIND_SHARE = 0.12
"""Of cut-out people."""
_HAIR, _FACE, _GLASSES = (PARTS.index(name) for name in ("hair", "face", "sunglasses"))
_LEAST_PIXELS = 60


def swap_sides(parts_HW: UInt8Array) -> UInt8Array:
    """Left and right exchanged where they are, [H, W]."""
    table = np.arange(256, dtype=np.uint8)
    for left, right in FLIP_PAIRS:
        table[left], table[right] = right, left
    return np.asarray(table[parts_HW], np.uint8)


def from_behind(
    image_HWC: UInt8Array, parts_HW: UInt8Array, rng: np.random.Generator
) -> tuple[UInt8Array, UInt8Array]:
    """The photo's person seen from behind; unchanged where there is too little hair to paint with."""
    hair = parts_HW == _HAIR
    face = (parts_HW == _FACE) | (parts_HW == _GLASSES)
    if np.count_nonzero(hair) < _LEAST_PIXELS or np.count_nonzero(face) < _LEAST_PIXELS:
        return image_HWC, parts_HW
    rows, columns = np.nonzero(face)
    area = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    colours = image_HWC[hair]
    speckles = colours[rng.integers(len(colours), size=face[area].shape)]
    strands = cv2.GaussianBlur(speckles, (0, 0), sigmaX=1.0, sigmaY=5.0)
    soft = cv2.GaussianBlur(face[area].astype(np.float32), (0, 0), 1.0)[..., None]
    image, parts = image_HWC.copy(), swap_sides(parts_HW)
    image[area] = (image[area] * (1 - soft) + strands * soft).astype(np.uint8)
    parts[face] = _HAIR
    return image, parts
