"""The label set of VIP and LIP: 19 body parts and garments, and background.

Source: ATEN (Zhou et al., MM 2018), section 3. Left and right are the person's own.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

PARTS: Final = (
    "background", "hat", "hair", "gloves", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
    "torso-skin", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe",
    "right-shoe",
)  # fmt: skip
NUM_PARTS: Final = len(PARTS)
VOID: Final = 255
"""Label of pixels of unknown class; left out of losses and metrics."""

FLIP_PAIRS: Final = ((14, 15), (16, 17), (18, 19))
"""Labels that trade places in a mirrored picture."""


def _voc_palette() -> npt.NDArray[np.uint8]:
    palette = np.zeros((256, 3), np.uint8)
    for label in range(256):
        rest = label
        for bit in range(7, -1, -1):
            for channel in range(3):
                palette[label, channel] |= ((rest >> channel) & 1) << bit
            rest >>= 3
    return palette


PALETTE: Final = _voc_palette()
"""Colours of labels, uint8 RGB [256, 3] (the VOC palette)."""

_FLIPPED: Final = np.arange(256, dtype=np.uint8)
for _left, _right in FLIP_PAIRS:
    _FLIPPED[_left], _FLIPPED[_right] = _right, _left


def flip_labels(label_map_HW: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The label map of the mirrored picture: mirrored, with left and right parts exchanged."""
    return _FLIPPED[label_map_HW[:, ::-1]]
