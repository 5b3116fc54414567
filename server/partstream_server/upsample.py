"""Label maps at the source's resolution from probabilities at the network's.

Who wins a pixel is decided among interpolated probabilities, so borders run between the cells of the
network's maps instead of along them. Each label is worked on in the crop where it can win, and the running
winner lies in one map: the label is packed into the low bits of a 16-bit probability, so a maximum keeps
both. Nothing of size N x H x W is made.

Maps are transposed here ([width, height]), so that what comes out lies in memory column by column, as
run-length encoding reads it. Shape suffixes: w, h the network's map; W, H the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partstream_server.values import Crop, FloatArray, MapArray

_LABEL_BITS = 6
_LABEL_MASK = (1 << _LABEL_BITS) - 1
MAX_LABEL = _LABEL_MASK
"""Labels are 1 to this; 0 is no label. A background that competes takes a label too."""

_FULL = 65535.0
_REACH = 1
"""Cells beyond its own that an interpolated probability can win in."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A rectangle of the network's map: columns `left` up to `right`, rows `top` up to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, map_wh: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a map inside, as a view."""
        return map_wh[self.left : self.right, self.top : self.bottom]


def cells_of(
    mask_wh: npt.NDArray[np.bool_], *, within: Cells | None = None, shape: Sequence[int] = ()
) -> Cells | None:
    """The rectangle that a label can win in whose own cells these are; None if there are none.

    Args:
        mask_wh: The label's own cells.
        within: Where in the map `mask_wh` lies; None if it is the whole map.
        shape: Of the map, [w, h]; that of `mask_wh` if it is the whole map.
    """
    left, top, width, height = _bounds(mask_wh)
    if width == 0:
        return None
    map_width, map_height = shape or mask_wh.shape
    if within is not None:
        left, top = left + within.left, top + within.top
    return Cells(
        left=max(0, left - _REACH),
        top=max(0, top - _REACH),
        right=min(map_width, left + width + _REACH),
        bottom=min(map_height, top + height + _REACH),
    )


class Contest:
    """Labels that contend for the pixels of a frame; the likeliest wins each."""

    def __init__(self, *, width: int, height: int, map_width: int, map_height: int) -> None:
        self._width, self._height = width, height
        self._map_width, self._map_height = map_width, map_height
        self._best_WH = np.zeros((width, height), np.uint16)

    def enter(self, label: int, probability_wh: FloatArray, cells: Cells, *, above: float = 0.0) -> None:
        """Let a label contend inside a rectangle, wherever its probability is above a floor.

        Probabilities are compared in steps of 1/1024; of two equal ones the greater label wins.
        """
        if not 0 < label <= MAX_LABEL:
            raise ValueError(f"a label is 1 to {MAX_LABEL}, got {label}")
        crop = self.pixels(cells)
        coarse = np.asarray(cells.of(probability_wh) * np.float32(_FULL), np.uint16)
        size = (crop.bottom - crop.top, crop.right - crop.left)
        packed_WH = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.uint16)
        packed_WH &= np.uint16(_FULL - _LABEL_MASK)
        packed_WH |= np.uint16(label)
        floor = (int(above * _FULL) & ~_LABEL_MASK) | _LABEL_MASK
        _, entered_WH = cv2.threshold(packed_WH, floor, 0, cv2.THRESH_TOZERO)
        best_WH = self._best_WH[crop.left : crop.right, crop.top : crop.bottom]
        np.maximum(best_WH, entered_WH, out=best_WH)

    def pixels(self, cells: Cells) -> Crop:
        """The pixels under a rectangle of cells."""
        left, right = _span(cells.left, cells.right, self._map_width, self._width)
        top, bottom = _span(cells.top, cells.bottom, self._map_height, self._height)
        return Crop(top=top, left=left, bottom=bottom, right=right)

    def labels(self) -> MapArray:
        """The winner of each pixel, [W, H]; 0 where none is above its floor."""
        return (self._best_WH & np.uint16(_LABEL_MASK)).astype(np.uint8)


def tight(mask_WH: npt.NDArray[np.bool_], crop: Crop) -> Crop | None:
    """The smallest crop around a mask that lies in a crop; None for an empty mask."""
    left, top, width, height = _bounds(mask_WH)
    if width == 0:
        return None
    left, top = crop.left + left, crop.top + top
    return Crop(top=top, left=left, bottom=top + height, right=left + width)


def _bounds(mask_wh: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the box around a transposed mask."""
    top, left, height, width = cv2.boundingRect(np.ascontiguousarray(mask_wh).view(np.uint8))
    return left, top, width, height


def _span(first: int, last: int, cells: int, pixels: int) -> tuple[int, int]:
    """Pixels under a range of cells, at least one."""
    start = min(round(first * pixels / cells), pixels - 1)
    return start, max(start + 1, round(last * pixels / cells))
