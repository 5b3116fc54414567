"""High dynamic range to the range of a usual display: PQ and HLG frames as 8-bit RGB.

Frames are turned into light, from the wide primaries into those of BT.709; highlights are compressed above a
knee. Reference white (203 nits) comes out a little below the display's white.

Source: ITU-R BT.2100 (PQ, HLG), BT.2087 (primaries), BT.2408 (reference white); IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

PQ: Final = 16
"""`color_trc` of FFmpeg: SMPTE ST 2084."""
HLG: Final = 18
"""ARIB STD-B67."""
BT2020: Final = 9
"""`color_primaries` of FFmpeg."""

_WHITE_NITS: Final = 203.0
_HLG_PEAK_NITS: Final = 1000.0
_HLG_GAMMA: Final = 1.2
_KNEE: Final = 0.8
"""Of the display's white: light above it is compressed."""
_STEPS: Final = 4096
_LUMA_2020: Final = (0.2627, 0.6780, 0.0593)
_TO_BT709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def is_high_range(transfer: int) -> bool:
    """Whether frames of this `color_trc` have to be tone-mapped."""
    return transfer in (PQ, HLG)


def tone_mapped(codes: npt.NDArray[np.uint16], *, transfer: int, primaries: int) -> npt.NDArray[np.uint8]:
    """A frame for a usual display, sRGB, [H, W, 3].

    Args:
        codes: RGB code values over the whole of 16 bits, [H, W, 3].
        transfer: `PQ` or `HLG`.
        primaries: `color_primaries`; those that are not BT.2020's are taken for BT.709's.
    """
    light = _light(transfer)[codes]
    if transfer == HLG:
        luma = light @ np.array(_LUMA_2020, np.float32)
        light *= np.power(np.maximum(luma, 1e-6), _HLG_GAMMA - 1)[..., None] * (_HLG_PEAK_NITS / _WHITE_NITS)
    if primaries == BT2020:
        light = np.asarray(cv2.transform(light, _TO_BT709), np.float32)
    # the square root gives dark shades more of the steps
    shares = cv2.sqrt(np.clip(light / _most(), 0, 1).astype(np.float32))
    steps = np.asarray(shares * (_STEPS - 1) + 0.5).astype(np.uint16)
    return np.asarray(_display()[steps], np.uint8)


def _most() -> float:
    """The most light that PQ tells of, against reference white."""
    return 10_000 / _WHITE_NITS


@lru_cache(maxsize=2)
def _light(transfer: int) -> npt.NDArray[np.float32]:
    """Light of each code: against reference white for PQ, of the scene (0..1) for HLG."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        powered = signal ** (1 / m2)
        nits = 10_000 * (np.maximum(powered - c1, 0) / (c2 - c3 * powered)) ** (1 / m1)
        return (nits / _WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


@lru_cache(maxsize=1)
def _display() -> npt.NDArray[np.uint8]:
    """The 8-bit code of each step of light."""
    light = (np.arange(_STEPS) / (_STEPS - 1)) ** 2 * _most()
    room = 1 - _KNEE
    shown = np.where(light < _KNEE, light, _KNEE + room * (1 - np.exp(-(light - _KNEE) / room)))
    coded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    return (np.clip(coded, 0, 1) * 255 + 0.5).astype(np.uint8)
