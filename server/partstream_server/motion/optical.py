"""Flow from pixels without a network: OpenCV's DIS, and none at all to compare with.

Shape suffixes: see the package.

Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from partstream_server.motion.field import Flow, between_sizes

Image = npt.NDArray[np.uint8]

_LEAST_SIDE = 16
"""Pixels of a side below which DIS has no room for its patches."""


class HostFlow(Protocol):
    """A flow that the host computes from two pictures; one instance serves one thread."""

    def flow(self, current_HW3: Image, reference_HW3: Image, *, height: int, width: int) -> Flow:
        """[2, h, w]: from current to reference, in pixels of a map of this size.

        Raises:
            ValueError: The images differ in size or are too small.
        """
        ...


class ZeroFlow:
    """Nothing moves."""

    def flow(self, current_HW3: Image, reference_HW3: Image, *, height: int, width: int) -> Flow:
        """Zeros."""
        _check(current_HW3, reference_HW3, least=1)
        return np.zeros((2, height, width), np.float32)


class DisPreset(StrEnum):
    """How much DIS does."""

    ULTRAFAST = "ultrafast"
    FAST = "fast"
    MEDIUM = "medium"


_PRESETS = {
    DisPreset.ULTRAFAST: cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    DisPreset.FAST: cv2.DISOPTICAL_FLOW_PRESET_FAST,
    DisPreset.MEDIUM: cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class DisFlow:
    """OpenCV's DIS on half-size grey pictures."""

    def __init__(self, preset: DisPreset = DisPreset.FAST) -> None:
        self.preset = preset
        self._dis = cv2.DISOpticalFlow.create(_PRESETS[preset])

    def flow(self, current_HW3: Image, reference_HW3: Image, *, height: int, width: int) -> Flow:
        """The flow between two pictures; see `HostFlow`."""
        _check(current_HW3, reference_HW3, least=2 * _LEAST_SIDE)
        current_HW, reference_HW = _half_grey(current_HW3), _half_grey(reference_HW3)
        flow_HW2 = self._dis.calc(current_HW, reference_HW, np.zeros((*current_HW.shape, 2), np.float32))
        flow_2HW = np.ascontiguousarray(np.moveaxis(flow_HW2, 2, 0), np.float32)
        return between_sizes(flow_2HW, height=height, width=width)


def _half_grey(image_HW3: Image) -> Image:
    height, width = image_HW3.shape[:2]
    half_HW3 = cv2.resize(image_HW3, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(half_HW3, cv2.COLOR_RGB2GRAY), np.uint8)


def _check(current_HW3: Image, reference_HW3: Image, *, least: int) -> None:
    if current_HW3.shape != reference_HW3.shape or current_HW3.ndim != 3:
        raise ValueError(f"images must have one size, got {current_HW3.shape} and {reference_HW3.shape}")
    if min(current_HW3.shape[:2]) < least:
        raise ValueError(f"images must have at least {least} pixels a side, got {current_HW3.shape[:2]}")
